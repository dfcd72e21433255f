#include "dist/traffic.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <filesystem>
#include <string>
#include <system_error>

namespace rft {

int64_t tcp_bytes_sent() {
  int64_t total = 0;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", gone)) {
    tcp_info info{};
    socklen_t size = sizeof info;
    // Files and sockets of other kinds refuse; an older kernel fills in less.
    if (getsockopt(std::stoi(entry.path().filename().string()), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) continue;
    if (size < offsetof(tcp_info, tcpi_bytes_retrans) + sizeof info.tcpi_bytes_retrans) continue;
    // What has been written and waits in the kernel counts too, so that a finished call's bytes are all there.
    total += static_cast<int64_t>(info.tcpi_bytes_sent) - static_cast<int64_t>(info.tcpi_bytes_retrans) +
             static_cast<int64_t>(info.tcpi_notsent_bytes);
  }
  return total;
}

}  // namespace rft
