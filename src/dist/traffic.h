#pragma once
#include <cstdint>

namespace rft {

/// Bytes that this process's open TCP connections have sent, without headers and repetitions, as Linux counts them
/// (TCP_INFO).
int64_t tcp_bytes_sent();

}  // namespace rft
