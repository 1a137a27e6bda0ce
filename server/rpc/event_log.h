// One line of JSON per event, e.g.
//   {"event":"session_created","name":"sessions/heat","time":"2026-01-02T…Z"}
// Events of a server's life and of errors; nothing per step, but of those that
// a sampled trace asks for.
#ifndef CONCORD_SERVER_RPC_EVENT_LOG_H_
#define CONCORD_SERVER_RPC_EVENT_LOG_H_

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "proto/wire/trace_context.h"

namespace concord {

// Threads: safe; lines do not mix.
class EventLog {
 public:
  using Value = std::variant<std::string, int64_t, double>;
  using Field = std::pair<absl::string_view, Value>;
  // Gets every line, without its end.
  using Sink = std::function<void(const std::string& line)>;

  EventLog();  // To stderr.
  explicit EventLog(Sink sink);

  // With a trace its ids are two more fields, "trace_id" and "span_id".
  void Write(absl::string_view event, std::initializer_list<Field> fields = {},
             const TraceContext& trace = {});

 private:
  absl::Mutex mutex_;
  const Sink sink_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_EVENT_LOG_H_
