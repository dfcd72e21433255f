# MuJoCo's C library and the robots' models (Gymnasium's), from their PyPI wheels; optional. bootstrap.sh brings both.
set(RFT_MUJOCO_DIR "${CMAKE_CURRENT_SOURCE_DIR}/.deps/mujoco" CACHE PATH "where the wheels mujoco-core and gymnasium are unpacked")
file(GLOB RFT_MUJOCO_LIBRARY "${RFT_MUJOCO_DIR}/mujoco/libmujoco.so.*")
set(RFT_MUJOCO "")
if(RFT_MUJOCO_LIBRARY AND EXISTS "${RFT_MUJOCO_DIR}/mujoco/include/mujoco/mujoco.h")
  add_library(rft::mujoco SHARED IMPORTED GLOBAL)
  set_target_properties(rft::mujoco PROPERTIES IMPORTED_LOCATION "${RFT_MUJOCO_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${RFT_MUJOCO_DIR}/mujoco/include"
    INTERFACE_COMPILE_DEFINITIONS "RFT_HAS_MUJOCO;RFT_MUJOCO_MODELS=\"${RFT_MUJOCO_DIR}/gymnasium/envs/mujoco/assets\"")
  set(RFT_MUJOCO rft::mujoco)
else()
  message(STATUS "rft: MuJoCo was not found in ${RFT_MUJOCO_DIR}, so the robots are left out (bash cmake/bootstrap.sh brings it)")
endif()
