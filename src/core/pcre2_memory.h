#pragma once
/// What everything that matches with PCRE2 has in common.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace rft {

/// What PCRE2 says of an error code.
inline std::string pcre2_message(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

/// What a thread needs to match; to be made once a thread.
struct Pcre2Memory {
  pcre2_match_data* data = pcre2_match_data_create(2, nullptr);  // the whole match and the first group
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack;
  Pcre2Memory(size_t stack_bytes, uint32_t heap_kib) : stack(pcre2_jit_stack_create(32 << 10, stack_bytes, nullptr)) {
    pcre2_set_heap_limit(context, heap_kib);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Pcre2Memory() { pcre2_match_data_free(data), pcre2_match_context_free(context), pcre2_jit_stack_free(stack); }
  Pcre2Memory(const Pcre2Memory&) = delete;
  Pcre2Memory& operator=(const Pcre2Memory&) = delete;
};

}  // namespace rft
