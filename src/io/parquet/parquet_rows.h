#pragma once
/// What librft_parquet.so, the module that holds Arrow, gives to librft.so. Plain C: the two share no C++ library.
#include <cstddef>

extern "C" {

/// Calls row(to, json, size) for every row of a Parquet file in order, the row as a JSON object (without its nulls);
/// stops where it returns false. On an error calls fail(to, message) and returns. Column types that JSON has no like of
/// (binary) are an error that names the column; times are texts as Arrow prints them.
typedef void (*RftParquetRows)(const char* file, void* to, bool (*row)(void* to, const char* json, size_t size),
                               void (*fail)(void* to, const char* message));
void rft_parquet_rows(const char* file, void* to, bool (*row)(void* to, const char* json, size_t size),
                      void (*fail)(void* to, const char* message));
}
