#include "client/cli/statistics_command.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/json_line.h"
#include "client/cli/server_flags.h"
#include "client/cli/session_name.h"
#include "client/cli/table.h"
#include "google/protobuf/util/time_util.h"

namespace concord {
namespace {

struct Flags {
  ServerFlags server;
  std::string name;  // Empty: all sessions.
  bool json = false;
};

std::string Megabytes(uint64_t bytes) {
  return absl::StrFormat("%.4g MB", static_cast<double>(bytes) * 1e-6);
}

std::string Mean(const v1::Statistics::Phase& phase) {
  if (phase.count() == 0) return "-";
  const double nanoseconds =
      static_cast<double>(
          google::protobuf::util::TimeUtil::DurationToNanoseconds(
              phase.sum())) /
      static_cast<double>(phase.count());
  return absl::StrFormat("%.3g ms", nanoseconds * 1e-6);
}

std::string ToText(const v1::ServerStatistics& statistics) {
  std::vector<std::pair<std::string, const v1::Statistics*>> all;
  if (statistics.has_total()) {
    all.emplace_back("the whole server", &statistics.total());
  }
  for (const v1::SessionStatistics& session : statistics.sessions()) {
    all.emplace_back(Printable(session.session()), &session.statistics());
  }
  std::vector<Row> counts = {{"", "conflict-free", "in conflict", "stationary",
                              "warming up", "skipped", "answers", "repeated",
                              "dropped", "failed streams", "received", "sent"}};
  std::vector<Row> times = {
      {"mean", "receive", "ingest", "wait", "solve", "commit", "send"}};
  for (const auto& [name, of] : all) {
    const v1::Statistics::Steps& steps = of->steps();
    const v1::Statistics::Answers& answers = of->answers();
    counts.push_back(
        {name, absl::StrCat(steps.conflict_free()),
         absl::StrCat(steps.in_conflict()), absl::StrCat(steps.stationary()),
         absl::StrCat(steps.warming_up()), absl::StrCat(steps.skipped()),
         absl::StrCat(answers.update()), absl::StrCat(answers.repeated()),
         absl::StrCat(answers.dropped()), absl::StrCat(of->failed_streams()),
         Megabytes(of->received_bytes()), Megabytes(of->sent_bytes())});
    times.push_back({name, Mean(of->receive()), Mean(of->ingest()),
                     Mean(of->wait()), Mean(of->solve()), Mean(of->commit()),
                     Mean(of->send())});
  }
  return absl::StrCat(
      "since ",
      google::protobuf::util::TimeUtil::ToString(statistics.start_time()),
      "\n\n", Aligned(counts), "\n", Aligned(times));
}

absl::Status Run(const Flags& flags, const Print& print) {
  const auto client = flags.server.Connect();
  if (!client.ok()) return client.status();
  const absl::StatusOr<v1::ServerStatistics> statistics =
      (*client)->GetServerStatistics(
          flags.name.empty() ? "" : FullSessionName(flags.name));
  if (!statistics.ok()) return statistics.status();
  if (!flags.json) return print(ToText(*statistics));
  const absl::StatusOr<std::string> line = ToJsonLine(*statistics);
  return line.ok() ? print(*line) : line.status();
}

}  // namespace

Command MakeStatisticsCommand(CLI::App* app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* const parser = app->add_subcommand(
      "statistics",
      "How many steps, answers and bytes there were since the server's start, "
      "and where the time went");
  parser->add_option("NAME", flags->name,
                     "Of this session alone: heat or sessions/heat");
  flags->server.AddTo(parser)->required();
  parser->add_flag("--json", flags->json,
                   "A concord.v1.ServerStatistics as JSON");
  return {.parser = parser,
          .run = [flags](const Print& print) { return Run(*flags, print); }};
}

}  // namespace concord
