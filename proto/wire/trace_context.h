// W3C's trace context (https://www.w3.org/TR/trace-context), as far as Concord
// carries it: the header "traceparent",
//
//   00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//   version, trace, the caller's span, flags (01: sampled)
#ifndef CONCORD_PROTO_WIRE_TRACE_CONTEXT_H_
#define CONCORD_PROTO_WIRE_TRACE_CONTEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace concord {

// What gRPC's metadata calls it.
inline constexpr char kTraceparent[] = "traceparent";

struct TraceContext {
  std::string trace_id;  // 32 hexadecimal digits; empty: there is none.
  std::string span_id;   // 16: the caller's span.
  bool sampled = false;

  bool is_set() const { return !trace_id.empty(); }
};

// Not set where `traceparent` is malformed, as the standard wants it: a trace
// that is lost harms nobody. Of later versions what this one knows is read.
TraceContext ParseTraceparent(absl::string_view traceparent);

}  // namespace concord

#endif  // CONCORD_PROTO_WIRE_TRACE_CONTEXT_H_
