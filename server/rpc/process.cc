#include "server/rpc/process.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <climits>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/synchronization/mutex.h"

namespace concord {
namespace {

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_usec) * 1e-6;
}

// The `number`-th field of /proc/self/stat, counted from 1 as in proc(5); from
// the third on, which are numbers or a letter.
double StatField(int number) {
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  // The second field is a name that may have anything in it.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  for (int i = 3; i <= number; ++i) fields >> field;
  double value = 0;
  return absl::SimpleAtod(field, &value) ? value : 0;
}

// Seconds since 1970.
double BootTime() {
  std::ifstream file("/proc/stat");
  std::string name;
  double seconds = 0;
  while (file >> name) {
    if (name == "btime" && file >> seconds) return seconds;
    file.ignore(1 << 20, '\n');
  }
  return 0;
}

double CountOpenFiles() {
  std::error_code error;
  std::filesystem::directory_iterator files("/proc/self/fd", error);
  double count = 0;
  while (!error && files != std::filesystem::directory_iterator()) {
    ++count;
    files.increment(error);
  }
  return count;
}

}  // namespace

void TuneProcess() {
  // Message buffers of some MiB come and go with every chunk: kept by the
  // allocator instead of being mapped anew, streams are three times as fast.
  // Few arenas, because each keeps its own.
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  // Distributions build Abseil, on which gRPC's locks stand, with a search for
  // lock cycles at every lock.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  // Beyond `ulimit -f` a write is to fail (EFBIG), not to end the process.
  signal(SIGXFSZ, SIG_IGN);
}

void ReturnFreeMemory() { malloc_trim(0); }

ProcessUse ReadProcessUse() {
  constexpr int kStartTicks = 22, kResidentPages = 24;
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  ProcessUse use;
  use.resident_bytes =
      StatField(kResidentPages) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  use.cpu_seconds = Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
  use.open_files = CountOpenFiles();
  use.start_time_seconds =
      BootTime() +
      StatField(kStartTicks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return use;
}

}  // namespace concord
