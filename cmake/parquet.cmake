# Apache Arrow's Parquet reader, from the pyarrow wheel (its Python is not used); optional. bootstrap.sh brings it. It is
# a module of its own, loaded when a .parquet file is read: Arrow is 60 MB that other runs don't map.
set(RFT_ARROW_DIR "${CMAKE_CURRENT_SOURCE_DIR}/.deps/arrow/pyarrow" CACHE PATH "the pyarrow wheel's package directory")
file(GLOB RFT_ARROW_LIBRARIES "${RFT_ARROW_DIR}/libarrow.so.*" "${RFT_ARROW_DIR}/libparquet.so.*")
if(RFT_ARROW_LIBRARIES AND EXISTS "${RFT_ARROW_DIR}/include/parquet/arrow/reader.h")
  add_library(rft_parquet MODULE src/io/parquet/parquet_rows.cpp)
  target_include_directories(rft_parquet PRIVATE src)
  target_include_directories(rft_parquet SYSTEM PRIVATE "${RFT_ARROW_DIR}/include")
  target_link_libraries(rft_parquet PRIVATE rft_flags nlohmann_json::nlohmann_json ${RFT_ARROW_LIBRARIES})
  set_property(TARGET rft_parquet PROPERTY BUILD_RPATH "${RFT_ARROW_DIR}")
  add_dependencies(rft rft_parquet)  # librft.so looks for it beside itself
else()
  message(STATUS "rft: Arrow was not found in ${RFT_ARROW_DIR}, so .parquet files are not read (bash cmake/bootstrap.sh brings it)")
endif()
