// What a server counts for Prometheus; docs/metrics.md lists all of it.
//
// Steps are counted once each, whoever took part; answers once per rank. What
// can be asked for at any time (sessions, memory, the process) is read when the
// metrics are, from the source.
//
// Threads: safe. A count takes well under a microsecond.
#ifndef CONCORD_SERVER_RPC_METRICS_H_
#define CONCORD_SERVER_RPC_METRICS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "concord/v1/server_info.pb.h"
#include "concord/v1/session.pb.h"
#include "concord/v1/statistics.pb.h"
#include "concord/v1/step.pb.h"

namespace concord {

class Metrics {
 public:
  // The state of the server at one time.
  struct Facts {
    v1::ServerInfo info;
    std::vector<v1::Session> sessions;
    absl::Time now = absl::Now();
  };
  using Source = std::function<Facts()>;

  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // A round was committed.
  void CountStep(const v1::StepResult& result, const v1::StepTrailer& trailer);
  // A rank has its answer; writing it took `send`, taking in what it had
  // brought `ingest`.
  void CountAnswer(const v1::StepResult& result, const v1::StepTimings& timings,
                   absl::Duration ingest, absl::Duration send);
  // A Step stream has ended with this error.
  void CountStreamFailure(const absl::Status& status);
  // A caller was turned away; `reason` as in access.h.
  void CountDenied(const std::string& reason);
  // Where `status` is LIMIT_EXCEEDED; else nothing.
  void CountLimited(const absl::Status& status);
  void CountCheckpoint(bool created);
  // Of messages, without their frames.
  void CountReceived(uint64_t bytes);
  void CountSent(uint64_t bytes);

  // What was counted, as GetServerStatistics has it.
  v1::Statistics Read() const;

  // All of it in Prometheus' text format (version 0.0.4).
  std::string Text(const Source& source) const;

 private:
  struct Counters;
  const std::unique_ptr<Counters> counters_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_METRICS_H_
