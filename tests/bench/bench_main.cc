// concord-bench: what a step costs, beside the baselines (see --help).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cpp/options.h"
#include "operators/kernels/cpu_kernels.h"
#include "operators/kernels/device_kernels.h"
#include "server/rpc/process.h"
#include "tests/bench/baselines.h"
#include "tests/bench/device_copy.h"
#include "tests/bench/durability_cost.h"
#include "tests/bench/embedded_step.h"
#include "tests/bench/measurement.h"
#include "tests/bench/report.h"
#include "tests/bench/solve_times.h"
#include "tests/bench/streamed_step.h"

namespace concord::bench {
namespace {

struct Flags {
  std::string json;
  std::string baselines;
  std::vector<size_t> sizes = {10'000, 1'000'000, 10'000'000};
  std::vector<int> losses = {2, 3};
  int reps = 0;  // Timed steps of a turn; 0: by size.
  int turns = 5;
  int threads = 1;
  std::string device = "cpu";
  size_t chunk_bytes = 0;
  v1::DataType wire_type = v1::FLOAT32;
  bool update_cosines = false;
  std::string certificates;
  std::string state_dir = std::filesystem::temp_directory_path();
  std::vector<std::string> only = {"embedded", "streamed"};
};

// About a quarter of a second of steps, but not fewer than seven.
int StepsOfATurn(const Flags& flags, size_t n) {
  if (flags.reps > 0) return flags.reps;
  return static_cast<int>(std::clamp<size_t>(25'000'000 / n, 7, 400));
}

absl::StatusOr<Row> MeasureEmbedded(const Flags& flags,
                                    const Baselines* baselines, size_t n,
                                    int m) {
  absl::StatusOr<std::shared_ptr<Kernels>> kernels =
      MakeCpuKernels(flags.threads);
  std::unique_ptr<DeviceCopy> copy;
  if (flags.device != "cpu") {
    kernels = LoadDeviceKernels(flags.device);
    if (!kernels.ok()) return kernels.status();
    absl::StatusOr<std::unique_ptr<DeviceCopy>> made =
        DeviceCopy::Create(*kernels);
    if (!made.ok()) return made.status();
    copy = *std::move(made);
    baselines = nullptr;
  }
  absl::StatusOr<std::unique_ptr<EmbeddedStep>> step =
      EmbeddedStep::Create(n, m, *kernels, flags.update_cosines);
  if (!step.ok()) return step.status();
  const int steps = StepsOfATurn(flags, n);
  std::vector<TurnTimes> ours;
  std::vector<double> floors, ratios;
  for (int turn = 0; turn < flags.turns; ++turn) {
    const absl::StatusOr<TurnTimes> times =
        Turn(steps, [&] { return (*step)->Run(); });
    if (!times.ok()) return times.status();
    ours.push_back(*times);
    if (baselines == nullptr && copy == nullptr) continue;
    const absl::StatusOr<double> floor =
        copy != nullptr ? copy->FloorMs(n, m)
                        : baselines->FloorMs(n, m, flags.threads, steps);
    if (!floor.ok()) return floor.status();
    floors.push_back(*floor);
    ratios.push_back(times->median / *floor);
  }
  Row row{copy != nullptr ? "gpu" : "embedded",
          n,
          m,
          FigureOf(ours),
          (*step)->TakePhases(),
          {},
          {},
          {},
          {},
          {}};
  if (!floors.empty()) {
    row.floor = FigureOf(floors);
    row.ratio = Median(ratios);
  }
  return row;
}

absl::StatusOr<Row> MeasureStreamed(const Flags& flags, const std::string& kind,
                                    const Baselines* baselines, size_t n,
                                    int m) {
  absl::StatusOr<std::unique_ptr<StreamedStep>> step = StreamedStep::Create(
      {.n = n,
       .m = m,
       .threads = flags.threads,
       .chunk_bytes = flags.chunk_bytes,
       .wire_type = flags.wire_type,
       .over_unix_socket = kind == "unix",
       .certificates = kind == "tls" ? flags.certificates : "",
       .shared_memory = false,
       .ranks = 1});
  if (!step.ok()) return step.status();
  const int steps = StepsOfATurn(flags, n);
  const std::optional<Target> target = TargetOf(kind, n, m);
  const bool add_floor =
      target.has_value() && target->against == "echo + floor";
  std::vector<TurnTimes> ours;
  std::vector<double> echoes, floors, ratios;
  for (int turn = 0; turn < flags.turns; ++turn) {
    const absl::StatusOr<TurnTimes> times =
        Turn(steps, [&] { return (*step)->Run(); });
    if (!times.ok()) return times.status();
    ours.push_back(*times);
    if (baselines == nullptr) continue;
    const absl::StatusOr<double> echo =
        baselines->EchoMs(n * sizeof(float), steps);
    if (!echo.ok()) return echo.status();
    echoes.push_back(*echo);
    double against = *echo;
    if (add_floor) {
      const absl::StatusOr<double> floor =
          baselines->FloorMs(n, m, flags.threads, steps);
      if (!floor.ok()) return floor.status();
      floors.push_back(*floor);
      against += *floor;
    }
    ratios.push_back(times->median / against);
  }
  Row row{kind, n, m, FigureOf(ours), {}, {}, {}, {}, {}, {}};
  if (baselines != nullptr) {
    row.echo = FigureOf(echoes);
    if (add_floor) row.floor = FigureOf(floors);
    row.ratio = Median(ratios);
  }
  return row;
}

// One worker in shared memory, or a round of m ranks with one loss each,
// against the step of as many losses in one process.
absl::StatusOr<Row> MeasureAgainstEmbedded(const Flags& flags,
                                           const std::string& kind,
                                           const Baselines* baselines, size_t n,
                                           int m) {
  const bool is_round = kind != "shared";
  const bool add_echo = kind == "round_tcp";
  absl::StatusOr<std::unique_ptr<StreamedStep>> step =
      StreamedStep::Create({.n = n,
                            .m = m,
                            .threads = flags.threads,
                            .chunk_bytes = flags.chunk_bytes,
                            .wire_type = flags.wire_type,
                            .over_unix_socket = false,
                            .certificates = {},
                            .shared_memory = !add_echo,
                            .ranks = is_round ? m : 1});
  if (!step.ok()) return step.status();
  absl::StatusOr<std::unique_ptr<EmbeddedStep>> embedded =
      EmbeddedStep::Create(n, m, MakeCpuKernels(flags.threads),
                           flags.update_cosines, {}, is_round ? m : 1);
  if (!embedded.ok()) return embedded.status();
  std::vector<float> from(n, 1), to(n);
  const int steps = StepsOfATurn(flags, n);
  std::vector<TurnTimes> ours, alone, copies;
  std::vector<double> echoes, ratios;
  for (int turn = 0; turn < flags.turns; ++turn) {
    absl::StatusOr<TurnTimes> times =
        Turn(steps, [&] { return (*step)->Run(); });
    if (!times.ok()) return times.status();
    ours.push_back(*times);
    times = Turn(steps, [&] { return (*embedded)->Run(); });
    if (!times.ok()) return times.status();
    alone.push_back(*times);
    times = Turn(steps, [&] {
      std::memcpy(to.data(), from.data(), n * sizeof(float));
      from[0] += to[n - 1];
      return absl::OkStatus();
    });
    if (!times.ok()) return times.status();
    copies.push_back(*times);
    double against = alone.back().median;
    if (!is_round) against += 2 * copies.back().median + .06;
    if (add_echo) {
      if (baselines == nullptr) continue;
      const absl::StatusOr<double> echo =
          baselines->EchoMs(static_cast<size_t>(m) * n * sizeof(float), steps);
      if (!echo.ok()) return echo.status();
      echoes.push_back(*echo);
      against += *echo;
    }
    ratios.push_back(ours.back().median / against);
  }
  Row row{
      kind, n, m, FigureOf(ours), {}, {}, {}, FigureOf(alone), FigureOf(copies),
      {}};
  if (!echoes.empty()) row.echo = FigureOf(echoes);
  if (!ratios.empty()) row.ratio = Median(ratios);
  return row;
}

absl::StatusOr<std::vector<Row>> MeasureAll(const Flags& flags,
                                            const Baselines* baselines) {
  std::vector<Row> rows;
  for (const char* kind : {"embedded", "streamed", "tls", "unix", "shared",
                           "round", "round_tcp"}) {
    if (std::find(flags.only.begin(), flags.only.end(), kind) ==
        flags.only.end()) {
      continue;
    }
    for (const size_t n : flags.sizes) {
      for (const int m : flags.losses) {
        const std::string name = kind;
        absl::StatusOr<Row> row =
            name == "embedded" ? MeasureEmbedded(flags, baselines, n, m)
            : name == "streamed" || name == "tls" || name == "unix"
                ? MeasureStreamed(flags, name, baselines, n, m)
                : MeasureAgainstEmbedded(flags, name, baselines, n, m);
        if (!row.ok()) return row.status();
        rows.push_back(*std::move(row));
        std::fprintf(stderr, "measured %s n=%zu m=%d\n", kind, n, m);
      }
    }
  }
  return rows;
}

// The methods' solves at eight losses.
absl::Status PrintSolves() {
  constexpr int kLosses = 8, kMatrices = 400;
  const absl::StatusOr<std::vector<SolveTime>> times =
      MeasureSolves(kLosses, kMatrices);
  if (!times.ok()) return times.status();
  std::printf("solve, m = %d, microseconds: median of %d matrices\n", kLosses,
              kMatrices);
  for (const SolveTime& time : *times) {
    std::printf("%-22s %8.1f  <= %-6g %s\n", time.method.c_str(),
                time.microseconds, time.limit,
                time.microseconds <= time.limit ? "kept" : "missed");
  }
  return absl::OkStatus();
}

// Of a step that outlives the process, over one that does not; in the state
// directory's file system and in memory's.
absl::Status PrintDurability(const Flags& flags) {
  constexpr double kLimit = 1.3;
  constexpr size_t kParameters = 10'000'000;
  constexpr int kLosses = 3;
  std::printf("durability, n = %zu, m = %d, ms a step: medians of %d turns\n",
              kParameters, kLosses, flags.turns);
  std::vector<std::string> directories = {flags.state_dir};
  if (std::filesystem::is_directory("/dev/shm")) {
    directories.push_back("/dev/shm");
  }
  for (const std::string& directory : directories) {
    const absl::StatusOr<DurabilityCost> cost =
        MeasureDurability(directory, kParameters, kLosses, flags.threads,
                          flags.turns, StepsOfATurn(flags, kParameters));
    if (!cost.ok()) return cost.status();
    std::printf(
        "%-12s none %7.2f (%.2f ... %.2f)  step %7.2f (%.2f ... %.2f)"
        "  ratio %.3f <= %g %s\n",
        directory.c_str(), cost->none.median, cost->none.low, cost->none.high,
        cost->step.median, cost->step.low, cost->step.high, cost->ratio, kLimit,
        cost->ratio <= kLimit ? "kept" : "missed");
  }
  return absl::OkStatus();
}

int Run(const Flags& flags) {
  const auto fail = [](const absl::Status& status) {
    std::fprintf(stderr, "concord-bench: %s\n", status.ToString().c_str());
    return 1;
  };
  if (flags.only == std::vector<std::string>{"solve"}) {
    const absl::Status status = PrintSolves();
    return status.ok() ? 0 : fail(status);
  }
  const bool over_tls = std::find(flags.only.begin(), flags.only.end(),
                                  "tls") != flags.only.end();
  if (over_tls && flags.certificates.empty()) {
    return fail(absl::InvalidArgumentError("tls needs --certificates"));
  }
  TuneProcess();  // As raw_echo.cc does.
  if (flags.only == std::vector<std::string>{"durability"}) {
    const absl::Status status = PrintDurability(flags);
    return status.ok() ? 0 : fail(status);
  }
  std::unique_ptr<Baselines> baselines;
  if (!flags.baselines.empty()) {
    const std::filesystem::path self =
        std::filesystem::read_symlink("/proc/self/exe");
    absl::StatusOr<std::unique_ptr<Baselines>> built = Baselines::Build(
        flags.baselines, self.parent_path().parent_path() / "baselines");
    if (!built.ok()) return fail(built.status());
    baselines = *std::move(built);
  }
  const absl::StatusOr<std::vector<Row>> rows =
      MeasureAll(flags, baselines.get());
  if (!rows.ok()) return fail(rows.status());
  const Setting setting{
      flags.threads,
      flags.device == "cpu" ? CpuInstructionSet() : "device " + flags.device,
      flags.turns,
      baselines != nullptr,
      v1::DataType_Name(flags.wire_type),
      flags.chunk_bytes > 0 ? flags.chunk_bytes : ClientOptions().chunk_bytes};
  std::fputs(Table(setting, *rows).c_str(), stdout);
  if (baselines == nullptr && flags.device == "cpu") {
    std::puts(
        "No baselines: give their folder with --baselines or "
        "CONCORD_BASELINES for the columns of comparison.");
  }
  if (!flags.json.empty()) {
    std::ofstream file(flags.json);
    file << Json(setting, *rows).dump(2) << "\n";
    file.close();
    if (!file) return fail(absl::InternalError("cannot write " + flags.json));
  }
  return 0;
}

}  // namespace
}  // namespace concord::bench

int main(int argc, char** argv) {
  concord::bench::Flags flags;
  CLI::App app(
      "Measures one M-ConFIG step of one updated loss: embedded (the engine in "
      "this process) against fused_floor, and streamed (C++ client and server "
      "over loopback TCP) against raw_echo, in turns.");
  app.add_option("--json", flags.json, "Write the figures to this file");
  app.add_option("--baselines", flags.baselines,
                 "Folder with fused_floor.cc and raw_echo.cc; compiled once "
                 "into the build folder")
      ->envname("CONCORD_BASELINES");
  app.add_option("--n", flags.sizes, "Numbers of parameters")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app.add_option("--m", flags.losses, "Numbers of losses")
      ->delimiter(',')
      ->check(CLI::Range(2, 64));
  app.add_option("--reps", flags.reps, "Timed steps of a turn (0: by size)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--turns", flags.turns, "Turns of each side")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", flags.threads, "Threads on either side")
      ->check(CLI::PositiveNumber);
  app.add_option("--device", flags.device,
                 "Of embedded steps: cpu, cuda, cuda:1. On a GPU the floor is "
                 "2m + 5 vectors at the rate of a copy on it");
  app.add_option("--chunk-bytes", flags.chunk_bytes,
                 "Of the client's chunks (0: its default)");
  const std::map<std::string, concord::v1::DataType> wire_types = {
      {"fp32", concord::v1::FLOAT32},
      {"bf16", concord::v1::BFLOAT16},
      {"fp16", concord::v1::FLOAT16}};
  app.add_option("--wire", flags.wire_type,
                 "Type in which a streamed step's vectors travel, either way: "
                 "fp32, bf16 or fp16 (raw_echo's bytes are fp32's)")
      ->transform(CLI::CheckedTransformer(wire_types));
  app.add_option(
         "--only", flags.only,
         "embedded, streamed (over TCP), tls, unix (over a Unix socket), "
         "shared "
         "(in shared memory), round and round_tcp (m ranks with one loss each, "
         "in shared memory and over TCP); or one alone: solve, the methods' "
         "algebra, or durability, steps that outlive the process")
      ->delimiter(',')
      ->check(CLI::IsMember({"embedded", "streamed", "tls", "unix", "shared",
                             "round", "round_tcp", "solve", "durability"}));
  app.add_option("--certificates", flags.certificates,
                 "Folder for tls, of deploy/tls/make_ca.sh FOLDER server")
      ->check(CLI::ExistingDirectory);
  app.add_option("--state-dir", flags.state_dir,
                 "Folder of the state file that durability is measured with")
      ->check(CLI::ExistingDirectory);
  app.add_flag("--update-cosines", flags.update_cosines,
               "Embedded steps take the update's cosines too");
  CLI11_PARSE(app, argc, argv);
  try {
    return concord::bench::Run(flags);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "concord-bench: %s\n", error.what());
    return 1;
  }
}
