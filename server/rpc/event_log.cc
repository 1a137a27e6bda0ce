#include "server/rpc/event_log.h"

#include <cstdio>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"

namespace concord {

EventLog::EventLog()
    : EventLog([](const std::string& line) {
        std::fprintf(stderr, "%s\n", line.c_str());
      }) {}

EventLog::EventLog(Sink sink) : sink_(std::move(sink)) {}

void EventLog::Write(absl::string_view event,
                     std::initializer_list<Field> fields,
                     const TraceContext& trace) {
  using Json = nlohmann::ordered_json;
  Json line;
  line["time"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(),
                                  absl::UTCTimeZone());
  line["event"] = std::string(event);
  for (const Field& field : fields) {
    std::visit(
        [&](const auto& value) { line[std::string(field.first)] = value; },
        field.second);
  }
  if (trace.is_set()) {
    line["trace_id"] = trace.trace_id;
    line["span_id"] = trace.span_id;
  }
  // Text that is no UTF-8 is replaced, never an exception.
  const std::string text =
      line.dump(-1, ' ', false, Json::error_handler_t::replace);
  absl::MutexLock lock(&mutex_);
  sink_(text);
}

}  // namespace concord
