#include "tests/bench/baselines.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"

namespace concord::bench {
namespace {

namespace fs = std::filesystem;

std::string Quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

absl::Status Compile(const fs::path& source, const fs::path& program,
                     const std::string& flags, const std::string& libraries) {
  if (!fs::exists(source)) {
    return absl::NotFoundError(
        absl::StrCat("no baseline at ", source.string()));
  }
  std::error_code ignored;
  if (fs::exists(program, ignored) &&
      fs::last_write_time(program) > fs::last_write_time(source)) {
    return absl::OkStatus();
  }
  const std::string command =
      absl::StrCat("g++ -std=c++20 -O3 ", flags, " ", Quoted(source.string()),
                   " -o ", Quoted(program.string()), " ", libraries);
  const int status = std::system(command.c_str());
  if (status == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("failed with status ", status, ": ", command));
}

// The field of the line of JSON that a program prints.
absl::StatusOr<double> RunAndRead(const std::string& command,
                                  const char* field) {
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) {
    return absl::InternalError(absl::StrCat("cannot start ", command));
  }
  std::string output;
  char buffer[512];
  while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) output += buffer;
  const int status = pclose(pipe);
  const nlohmann::json line =
      nlohmann::json::parse(output, nullptr, /*allow_exceptions=*/false);
  if (status != 0 || !line.is_object() || !line.contains(field) ||
      !line[field].is_number()) {
    return absl::InternalError(absl::StrCat(command, ": status ", status,
                                            ", output \"", output, "\""));
  }
  return line[field].get<double>();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Baselines>> Baselines::Build(
    const std::string& sources, const std::string& programs) {
  std::error_code error;
  fs::create_directories(programs, error);
  if (error) {
    return absl::InternalError(absl::StrCat(programs, ": ", error.message()));
  }
  const fs::path from(sources), to(programs);
  absl::Status status = Compile(from / "fused_floor.cc", to / "fused_floor",
                                "-march=native -ffast-math", "-pthread");
  if (!status.ok()) return status;
  status = Compile(from / "raw_echo.cc", to / "raw_echo", "",
                   "$(pkg-config --libs --cflags grpc++)");
  if (!status.ok()) return status;
  return std::unique_ptr<Baselines>(new Baselines(programs));
}

absl::StatusOr<double> Baselines::FloorMs(size_t n, int m, int threads,
                                          int steps) const {
  // The program knows two and three losses; more are scaled by traffic.
  constexpr int kKnown = 3;
  const auto traffic = [](int losses) { return 2. * losses + 5; };
  const int measured = std::min(m, kKnown);
  absl::StatusOr<double> ms =
      RunAndRead(absl::StrCat(Quoted(programs_ + "/fused_floor"), " ", n, " ",
                              measured, " ", threads, " ", steps),
                 "step_ms");
  if (ms.ok()) *ms *= traffic(m) / traffic(measured);
  return ms;
}

absl::StatusOr<double> Baselines::EchoMs(size_t bytes, int steps) const {
  return RunAndRead(
      absl::StrCat(Quoted(programs_ + "/raw_echo"), " ", bytes, " ", steps),
      "echo_ms");
}

}  // namespace concord::bench
