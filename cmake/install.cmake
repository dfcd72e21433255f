# cmake --install: headers, librft.so, the program, and a package for find_package(rft).
include(CMakePackageConfigHelpers)
# CMake leaves link paths inside the source tree out by itself, and LibTorch may well be there (.deps/).
set_property(TARGET rft rft_main APPEND PROPERTY INSTALL_RPATH "${TORCH_INSTALL_PREFIX}/lib")
install(TARGETS rft EXPORT rftTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(RFT_MUJOCO)
  install(FILES "${RFT_MUJOCO_LIBRARY}" DESTINATION ${CMAKE_INSTALL_LIBDIR})  # beside librft.so, which looks there
endif()
if(TARGET rft_parquet)
  set_property(TARGET rft_parquet PROPERTY INSTALL_RPATH "$ORIGIN;${RFT_ARROW_DIR}")
  install(TARGETS rft_parquet LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})  # beside librft.so, which looks there
endif()
install(TARGETS rft_main RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY include/rft DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT rftTargets NAMESPACE rft:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rft)
configure_package_config_file(cmake/rftConfig.cmake.in ${CMAKE_BINARY_DIR}/rftConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rft)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/rftConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/rftConfig.cmake ${CMAKE_BINARY_DIR}/rftConfigVersion.cmake cmake/torch.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rft)
