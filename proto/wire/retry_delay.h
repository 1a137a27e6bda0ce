// How an error says when the same request may succeed.
#ifndef CONCORD_PROTO_WIRE_RETRY_DELAY_H_
#define CONCORD_PROTO_WIRE_RETRY_DELAY_H_

namespace concord {

// The key in an ErrorDetail's metadata; the value is a duration as Abseil
// writes it, "250ms". Beside it google.rpc.RetryInfo says the same.
inline constexpr char kRetryDelay[] = "retry_delay";

}  // namespace concord

#endif  // CONCORD_PROTO_WIRE_RETRY_DELAY_H_
