# A room is src/NAME/*.cpp, one object library rft_NAME. All rooms together are the library rft.
set(RFT_ROOMS "" CACHE INTERNAL "")

# The precompiled header that every file of ours that sees LibTorch starts with.
file(WRITE ${CMAKE_BINARY_DIR}/pch/empty.cpp "")
add_library(rft_pch OBJECT ${CMAKE_BINARY_DIR}/pch/empty.cpp)
target_link_libraries(rft_pch PUBLIC rft_flags rft::torch)
target_precompile_headers(rft_pch PRIVATE <ATen/ATen.h> <functional> <map> <memory> <optional> <string> <vector>)

# Several files are compiled as one: LibTorch's templates, which take most of a compiler's time, are worked through once
# for all of them. A name in an unnamed namespace must then be the only one in its room; two rooms don't meet. `count`: so
# many at most.
function(rft_together target count)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${count})
endfunction()

function(rft_room name)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cpp)
  if(name STREQUAL "core")
    list(FILTER sources EXCLUDE REGEX "/log\\.cpp$")
  endif()
  if(name STREQUAL "app")
    list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
    list(APPEND sources ${PROJECT_SOURCE_DIR}/src/registry.cpp)
  endif()
  if(NOT sources)
    return()
  endif()
  add_library(rft_${name} OBJECT ${sources})
  target_include_directories(rft_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include PRIVATE ${PROJECT_SOURCE_DIR}/src
                             ${PROJECT_SOURCE_DIR})
  target_link_libraries(rft_${name} PUBLIC rft_flags rft::torch PRIVATE ${ARGN})
  target_precompile_headers(rft_${name} REUSE_FROM rft_pch)
  # Some kernels are compiled anew for each instruction set, a file each.
  set(alone ${sources})
  list(FILTER alone INCLUDE REGEX "_(avx2|avx512|portable)\\.cpp$")
  set_source_files_properties(${alone} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  rft_together(rft_${name} 12)
  if(name STREQUAL "dist")
    target_include_directories(rft_dist SYSTEM PRIVATE ${PROJECT_SOURCE_DIR}/src/dist/gloo_shim)
  endif()
  set(RFT_ROOMS "${RFT_ROOMS};${name}" CACHE INTERNAL "")
  set_property(GLOBAL APPEND PROPERTY RFT_ROOM_LIBRARIES ${ARGN})
endfunction()

function(rft_logging)
  add_library(rft_log OBJECT ${PROJECT_SOURCE_DIR}/src/core/log.cpp)
  target_include_directories(rft_log PRIVATE ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(rft_log PRIVATE rft_flags spdlog::spdlog)
endfunction()

function(rft_library)
  add_library(rft SHARED $<TARGET_OBJECTS:rft_log>)
  foreach(room ${RFT_ROOMS})
    target_sources(rft PRIVATE $<TARGET_OBJECTS:rft_${room}>)
  endforeach()
  target_include_directories(rft PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                             $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  get_property(libraries GLOBAL PROPERTY RFT_ROOM_LIBRARIES)
  list(REMOVE_DUPLICATES libraries)
  target_link_libraries(rft PUBLIC rft::torch PRIVATE $<BUILD_INTERFACE:rft_flags> ${libraries} spdlog::spdlog
                        ${RFT_OPENMP} ${CMAKE_DL_LIBS})
  add_library(rft::rft ALIAS rft)
endfunction()

function(rft_program)
  add_executable(rft_main ${PROJECT_SOURCE_DIR}/src/app/main.cpp)
  target_link_libraries(rft_main PRIVATE rft rft_flags)
  set_target_properties(rft_main PROPERTIES OUTPUT_NAME rft)
endfunction()
