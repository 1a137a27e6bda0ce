#include "server/rpc/metrics.h"

#include <array>
#include <map>
#include <utility>

#include "operators/errors.h"
#include "prometheus/counter.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"
#include "server/rpc/process.h"
#include "server/session/messages.h"
#include "server/session/statistics.h"

namespace concord {
namespace {

using prometheus::Counter;
using prometheus::Histogram;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::map<std::string, std::string>;

// Seconds: from a small step's microseconds to a straggler's minutes.
const Histogram::BucketBoundaries& PhaseBuckets() {
  static const auto* const buckets = new Histogram::BucketBoundaries{
      1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, .01,
      .025, .05,    .1,   .25,  .5,     1,    2.5,  5,      10,   60};
  return *buckets;
}

double Seconds(const google::protobuf::Duration& duration) {
  return absl::ToDoubleSeconds(ToDuration(duration));
}

// UNAVAILABLE and so on.
std::string CodeName(absl::StatusCode code) {
  return absl::StatusCodeToString(code);
}

// One family of gauges or counters that are read, not counted.
class Readings {
 public:
  Readings(std::vector<MetricFamily>* all, std::string name, std::string help,
           MetricType type = MetricType::Gauge) {
    all->push_back({std::move(name), std::move(help), type, {}});
    family_ = &all->back();
  }
  Readings& Add(double value, const Labels& labels = {}) {
    prometheus::ClientMetric metric;
    for (const auto& [name, text] : labels) {
      metric.label.push_back({name, text});
    }
    metric.gauge.value = value;
    metric.counter.value = value;
    family_->metric.push_back(std::move(metric));
    return *this;
  }

 private:
  MetricFamily* family_;
};

void ReadServer(const v1::ServerInfo& info, std::vector<MetricFamily>* all) {
  Readings(all, "concord_build_info",
           "1, with what the server is and runs on as labels.")
      .Add(1, {{"version", info.version()},
               {"device", info.device()},
               {"instruction_set", info.instruction_set()}});
  Readings(all, "concord_sessions", "Sessions in memory.").Add(info.sessions());
  Readings(all, "concord_sessions_limit", "Sessions that there may be.")
      .Add(info.max_sessions());
  Readings(all, "concord_streams", "Open streams.").Add(info.streams());
  Readings(all, "concord_streams_limit", "Streams that there may be.")
      .Add(info.max_streams());
  Readings(all, "concord_memory_reserved_bytes",
           "Reserved for vectors, on the sessions' device.")
      .Add(static_cast<double>(info.memory_reserved_bytes()),
           {{"device", info.device()}});
  Readings(all, "concord_memory_budget_bytes",
           "What may be reserved for vectors.")
      .Add(static_cast<double>(info.memory_budget_bytes()),
           {{"device", info.device()}});
  Readings(all, "concord_device_memory_bytes",
           "What the device has, for whoever uses it; 0: not known.")
      .Add(static_cast<double>(info.device_memory_bytes()),
           {{"device", info.device()}});
  Readings(all, "concord_device_memory_free_bytes", "What of that is free.")
      .Add(static_cast<double>(info.device_memory_free_bytes()),
           {{"device", info.device()}});
  Readings(all, "concord_shared_memory_bytes",
           "Memory of workers on this machine that the server has mapped.")
      .Add(static_cast<double>(info.shared_memory_bytes()));
  Readings(all, "concord_shared_memory_limit_bytes",
           "How much of it there may be; 0: none.")
      .Add(static_cast<double>(info.max_shared_memory_bytes()));
}

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) +
         absl::Nanoseconds(time.nanos());
}

void ReadCheckpointAges(const Metrics::Facts& facts,
                        std::vector<MetricFamily>* all) {
  Readings ages(all, "concord_session_checkpoint_age_seconds",
                "Since the last checkpoint, or since the session was made; of "
                "sessions that have checkpoints.");
  for (const v1::Session& session : facts.sessions) {
    if (session.durability() == v1::DURABILITY_NONE) continue;
    const absl::Time since = ToTime(session.has_last_checkpoint_time()
                                        ? session.last_checkpoint_time()
                                        : session.create_time());
    ages.Add(absl::ToDoubleSeconds(facts.now - since),
             {{"session", session.name()}});
  }
}

void ReadSessions(const std::vector<v1::Session>& sessions,
                  std::vector<MetricFamily>* all) {
  const auto each = [&](const char* name, const char* help,
                        const std::function<double(const v1::Session&)>& read) {
    Readings readings(all, name, help);
    for (const v1::Session& session : sessions) {
      readings.Add(read(session), {{"session", session.name()}});
    }
  };
  each("concord_session_committed_step", "The last committed step.",
       [](const v1::Session& session) {
         return static_cast<double>(session.committed_step());
       });
  each("concord_session_ranks", "Ranks that a round has.",
       [](const v1::Session& session) -> double {
         return session.num_workers();
       });
  each("concord_session_joined_ranks", "Ranks with an open stream.",
       [](const v1::Session& session) -> double {
         return session.joined_ranks();
       });
  each("concord_session_absent_ranks",
       "Ranks that have left or were late: rounds do not wait for them.",
       [](const v1::Session& session) -> double {
         return session.absent_ranks_size();
       });
  each("concord_session_memory_bytes", "Reserved for the session.",
       [](const v1::Session& session) {
         return static_cast<double>(session.memory_bytes());
       });
  each("concord_session_uncheckpointed_steps",
       "Steps committed since the last checkpoint, or since the beginning.",
       [](const v1::Session& session) {
         // A restored session may be behind its last checkpoint.
         return session.committed_step() > session.last_checkpoint_step()
                    ? static_cast<double>(session.committed_step() -
                                          session.last_checkpoint_step())
                    : 0.0;
       });
}

void ReadProcess(std::vector<MetricFamily>* all) {
  const ProcessUse use = ReadProcessUse();
  Readings(all, "process_resident_memory_bytes", "Resident set.")
      .Add(use.resident_bytes);
  Readings(all, "process_cpu_seconds_total", "Processor time, user and system.",
           MetricType::Counter)
      .Add(use.cpu_seconds);
  Readings(all, "process_open_fds", "Open file descriptors.")
      .Add(use.open_files);
  Readings(all, "process_start_time_seconds",
           "When the process was started, in seconds since 1970.")
      .Add(use.start_time_seconds);
}

}  // namespace

// Every label's value is made at once: what has not happened yet reads 0.
struct Metrics::Counters {
  prometheus::Registry registry;

  Counter& Add(const char* name, const char* help, const Labels& labels = {}) {
    return prometheus::BuildCounter()
        .Name(name)
        .Help(help)
        .Register(registry)
        .Add(labels);
  }
  Counter& Step(const char* outcome) {
    return Add("concord_steps_total",
               "Committed steps, by what became of the losses' conflict.",
               {{"outcome", outcome}});
  }
  Counter& Answer(const char* outcome) {
    return Add("concord_answers_total",
               "Answers to ranks: with the step's update, the same once more, "
               "or to a contribution that came too late.",
               {{"outcome", outcome}});
  }
  Counter& Denied(const char* reason) {
    return Add("concord_access_denied_total",
               "Calls that were turned away, by the error's reason.",
               {{"reason", reason}});
  }
  Counter& Limited(const char* limit) {
    return Add("concord_limited_total",
               "Calls and steps that were refused with LIMIT_EXCEEDED, by the "
               "limit.",
               {{"limit", limit}});
  }
  Counter& Checkpoint(const char* outcome) {
    return Add("concord_checkpoints_total",
               "Checkpoints that a session's policy has asked for.",
               {{"outcome", outcome}});
  }
  Histogram& Phase(const char* phase) {
    return prometheus::BuildHistogram()
        .Name("concord_step_phase_seconds")
        .Help(
            "Where the time of steps goes: receive, ingest (a part of it), "
            "wait and send are each rank's, solve and commit the step's.")
        .Register(registry)
        .Add({{"phase", phase}}, PhaseBuckets());
  }

  Counter& conflict_free = Step("conflict_free");
  Counter& in_conflict = Step("in_conflict");
  Counter& stationary = Step("stationary");
  Counter& warming_up = Step("warming_up");
  Counter& skipped = Step("skipped");
  Counter& updates = Answer("update");
  Counter& repeats = Answer("repeated");
  Counter& drops = Answer("dropped");
  Counter& checkpoints_created = Checkpoint("created");
  Counter& checkpoints_failed = Checkpoint("failed");
  Histogram& receive = Phase("receive");
  Histogram& ingest = Phase("ingest");
  Histogram& wait = Phase("wait");
  Histogram& solve = Phase("solve");
  Histogram& commit = Phase("commit");
  Histogram& send = Phase("send");
  Counter& received = Add("concord_received_bytes_total",
                          "Messages that streams have received.");
  Counter& sent =
      Add("concord_sent_bytes_total", "Messages that streams have sent.");
  std::map<std::string, Counter*> denied = {
      {"TOKEN_MISSING", &Denied("TOKEN_MISSING")},
      {"TOKEN_UNKNOWN", &Denied("TOKEN_UNKNOWN")},
      {"RIGHT_MISSING", &Denied("RIGHT_MISSING")},
      {"NOT_OWNER", &Denied("NOT_OWNER")}};
  // Those of ServerInfo.
  std::map<std::string, Counter*> limited;
  // By status code; 0, OK, is none.
  std::array<Counter*, 17> stream_failures = {};

  Counters() {
    for (const char* limit :
         {"max_sessions", "max_vectors", "max_parameters", "max_streams",
          "memory_budget_bytes", "max_streams_per_caller",
          "max_sessions_per_caller", "memory_budget_per_caller_bytes",
          "max_step_rate_per_caller"}) {
      limited.emplace(limit, &Limited(limit));
    }
    for (size_t code = 1; code < stream_failures.size(); ++code) {
      stream_failures[code] =
          &Add("concord_stream_failures_total",
               "Step streams that ended with an error, by its code.",
               {{"code", CodeName(static_cast<absl::StatusCode>(code))}});
    }
  }
};

Metrics::Metrics() : counters_(std::make_unique<Counters>()) {}
Metrics::~Metrics() = default;

void Metrics::CountStep(const v1::StepResult& result,
                        const v1::StepTrailer& trailer) {
  Counter* const outcomes[] = {&counters_->conflict_free,
                               &counters_->in_conflict, &counters_->stationary,
                               &counters_->warming_up,
                               &counters_->skipped};  // As ConflictOutcome.
  outcomes[static_cast<size_t>(OutcomeOf(result))]->Increment();
  counters_->solve.Observe(Seconds(trailer.timings().solve()));
  counters_->commit.Observe(Seconds(trailer.timings().commit()));
}

void Metrics::CountAnswer(const v1::StepResult& result,
                          const v1::StepTimings& timings, absl::Duration ingest,
                          absl::Duration send) {
  Counter* const outcomes[] = {&counters_->updates, &counters_->repeats,
                               &counters_->drops};  // As AnswerOutcome.
  outcomes[static_cast<size_t>(AnswerOf(result))]->Increment();
  counters_->send.Observe(absl::ToDoubleSeconds(send));
  // What was answered from before has no times of its own.
  if (!timings.has_receive()) return;
  counters_->receive.Observe(Seconds(timings.receive()));
  counters_->ingest.Observe(absl::ToDoubleSeconds(ingest));
  counters_->wait.Observe(Seconds(timings.wait()));
}

void Metrics::CountStreamFailure(const absl::Status& status) {
  const auto code = static_cast<size_t>(status.raw_code());
  if (code == 0 || code >= counters_->stream_failures.size()) return;
  counters_->stream_failures[code]->Increment();
}

void Metrics::CountDenied(const std::string& reason) {
  const auto found = counters_->denied.find(reason);
  if (found != counters_->denied.end()) found->second->Increment();
}

void Metrics::CountLimited(const absl::Status& status) {
  if (!absl::IsResourceExhausted(status)) return;
  const absl::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (!detail.has_value()) return;
  for (const auto& [name, limit] : detail->metadata) {
    if (name != "limit") continue;
    const auto found = counters_->limited.find(limit);
    if (found != counters_->limited.end()) found->second->Increment();
  }
}

void Metrics::CountCheckpoint(bool created) {
  (created ? counters_->checkpoints_created : counters_->checkpoints_failed)
      .Increment();
}

void Metrics::CountReceived(uint64_t bytes) {
  counters_->received.Increment(static_cast<double>(bytes));
}

void Metrics::CountSent(uint64_t bytes) {
  counters_->sent.Increment(static_cast<double>(bytes));
}

v1::Statistics Metrics::Read() const {
  const auto count = [](const Counter& counter) {
    return static_cast<uint64_t>(counter.Value());
  };
  const auto fill = [](const Histogram& phase, v1::Statistics::Phase* to) {
    const auto found = phase.Collect().histogram;
    to->set_count(found.sample_count);
    FillDuration(absl::Seconds(found.sample_sum), to->mutable_sum());
  };
  v1::Statistics all;
  all.mutable_steps()->set_conflict_free(count(counters_->conflict_free));
  all.mutable_steps()->set_in_conflict(count(counters_->in_conflict));
  all.mutable_steps()->set_stationary(count(counters_->stationary));
  all.mutable_steps()->set_warming_up(count(counters_->warming_up));
  all.mutable_steps()->set_skipped(count(counters_->skipped));
  all.mutable_answers()->set_update(count(counters_->updates));
  all.mutable_answers()->set_repeated(count(counters_->repeats));
  all.mutable_answers()->set_dropped(count(counters_->drops));
  fill(counters_->receive, all.mutable_receive());
  fill(counters_->ingest, all.mutable_ingest());
  fill(counters_->wait, all.mutable_wait());
  fill(counters_->solve, all.mutable_solve());
  fill(counters_->commit, all.mutable_commit());
  fill(counters_->send, all.mutable_send());
  uint64_t failed = 0;
  for (const Counter* code : counters_->stream_failures) {
    if (code != nullptr) failed += count(*code);
  }
  all.set_failed_streams(failed);
  all.set_received_bytes(count(counters_->received));
  all.set_sent_bytes(count(counters_->sent));
  return all;
}

std::string Metrics::Text(const Source& source) const {
  std::vector<MetricFamily> all = counters_->registry.Collect();
  const Facts facts = source();
  ReadServer(facts.info, &all);
  ReadSessions(facts.sessions, &all);
  ReadCheckpointAges(facts, &all);
  ReadProcess(&all);
  return prometheus::TextSerializer().Serialize(all);
}

}  // namespace concord
