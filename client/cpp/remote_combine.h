// One Combine call with its retries: a stream of its own per try.
#ifndef CONCORD_CLIENT_CPP_REMOTE_COMBINE_H_
#define CONCORD_CLIENT_CPP_REMOTE_COMBINE_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cpp/client.h"
#include "client/cpp/connection.h"
#include "client/cpp/limit.h"

namespace concord {

class RemoteCombine {
 public:
  // All arguments must outlive the call.
  RemoteCombine(const std::string& server, const ClientOptions& client,
                const v1::CombineHeader& header,
                absl::Span<const void* const> vectors, void* result)
      : server_(server),
        client_(client),
        header_(header),
        vectors_(vectors),
        result_(result) {}

  absl::StatusOr<CombineOutcome> Run(const CallOptions& options);

 private:
  absl::Status CheckMemory() const;
  absl::Status Try(v1::CombineResult* found, const Limit& limit);
  bool Send(Connection* connection, const Limit& limit);
  absl::Status Receive(Connection* connection, v1::CombineResult* found,
                       const Limit& limit);
  size_t VectorBytes() const;

  const std::string& server_;
  const ClientOptions& client_;
  const v1::CombineHeader& header_;
  const absl::Span<const void* const> vectors_;
  void* const result_;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_REMOTE_COMBINE_H_
