#include "operators/kernels/machine_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>

#include "absl/strings/numbers.h"

namespace concord {
namespace {

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();

// The number in a control group's file; kNone where there is none ("max", or no
// such group).
uint64_t ReadNumber(const char* path) {
  std::ifstream file(path);
  std::string text;
  uint64_t number = 0;
  return file >> text && absl::SimpleAtoi(text, &number) ? number : kNone;
}

// Of the control group's files: version 2, else version 1.
uint64_t ReadGroup(const char* path, const char* path_1) {
  const uint64_t number = ReadNumber(path);
  return number != kNone ? number : ReadNumber(path_1);
}

// "MemAvailable:  123 kB" of /proc/meminfo; kNone where there is no such line.
uint64_t ReadAvailable() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  uint64_t kilobytes = 0;
  while (file >> name) {
    if (name == "MemAvailable:" && file >> kilobytes) return kilobytes << 10;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return kNone;
}

}  // namespace

MemoryInfo ReadMachineMemory() {
  const uint64_t page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  MemoryInfo memory;
  memory.total_bytes = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * page;
  memory.free_bytes = std::min(memory.total_bytes, ReadAvailable());
  const uint64_t limit =
      ReadGroup("/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes");
  if (limit >= memory.total_bytes) return memory;
  memory.total_bytes = limit;
  const uint64_t used =
      ReadGroup("/sys/fs/cgroup/memory.current",
                "/sys/fs/cgroup/memory/memory.usage_in_bytes");
  const uint64_t left = used < limit ? limit - used : 0;
  memory.free_bytes = std::min(memory.free_bytes, left);
  return memory;
}

}  // namespace concord
