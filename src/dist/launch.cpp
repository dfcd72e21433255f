#include <cstdlib>
#include <string>

#include "rft/core/error.h"
#include "rft/dist/communicator.h"

namespace rft {
namespace {

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? value : nullptr;
}

int64_t number(const char* name, int64_t low, int64_t high) {
  const char* text = variable(name);
  if (!text) bad_input(name, "must be set where several processes are started; torchrun and Slurm set it");
  char* end = nullptr;
  long long value = std::strtoll(text, &end, 10);
  if (*end || value < low || value > high)
    bad_input(name, "must be a whole number in ", low, " .. ", high, "; got '", text, "'");
  return value;
}

/// "node[03-06,9],other" -> "node03".
std::string first_host(const std::string& list) {
  std::string host = list.substr(0, list.find_first_of("[,"));
  if (host.size() == list.size() || list[host.size()] == ',') return host;
  size_t begin = host.size() + 1;
  return host + list.substr(begin, list.find_first_of("-,]", begin) - begin);
}

constexpr int64_t kMostProcesses = 1 << 20;

}  // namespace

Launch Launch::from_environment() {
  struct Names {
    const char *rank, *size;
  };
  Launch out;
  Names names{"RANK", "WORLD_SIZE"};
  if (!variable("WORLD_SIZE") && !variable("RANK")) {
    if (variable("SLURM_NTASKS") && variable("SLURM_PROCID"))
      names = {"SLURM_PROCID", "SLURM_NTASKS"};
    else if (variable("OMPI_COMM_WORLD_SIZE"))
      names = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"};
    else
      return out;
  }
  out.size = number(names.size, 1, kMostProcesses);
  if (out.size == 1) return out;
  out.rank = number(names.rank, 0, out.size - 1);
  const char* hosts = variable("SLURM_STEP_NODELIST");
  if (const char* address = variable("MASTER_ADDR"))
    out.address = address;
  else if (hosts && std::string(names.rank) == "SLURM_PROCID")
    out.address = first_host(hosts);
  else
    bad_input("MASTER_ADDR", "must name the host of rank 0 where several processes are started");
  out.port = number("MASTER_PORT", 1, 65535);
  const char* agent = variable("TORCHELASTIC_USE_AGENT_STORE");
  out.agent_store = agent && std::string(agent) == "True";
  const char* restarts = variable("TORCHELASTIC_RESTART_COUNT");
  out.prefix = std::string("rft/") + (restarts ? restarts : "0") + "/";
  return out;
}

}  // namespace rft
