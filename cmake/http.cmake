# cpp-httplib, for rft serve; optional. bootstrap.sh installs it.
pkg_check_modules(HTTPLIB QUIET IMPORTED_TARGET cpp-httplib)
set(RFT_HTTP "")
if(HTTPLIB_FOUND)
  set_property(TARGET PkgConfig::HTTPLIB APPEND PROPERTY INTERFACE_COMPILE_DEFINITIONS RFT_HAS_HTTP)
  set(RFT_HTTP PkgConfig::HTTPLIB)
else()
  message(STATUS "rft: cpp-httplib was not found, so there is no rft serve (bash cmake/bootstrap.sh installs libcpp-httplib-dev)")
endif()
