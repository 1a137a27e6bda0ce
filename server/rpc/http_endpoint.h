// A port for what watches a server over plain HTTP: Prometheus and load
// balancers.
//
//   GET /metrics   all metrics, in Prometheus' text format
//   GET /healthz   200 "serving", or 503 "not serving"
//
// Everything else is 404. Threads: its own two; the functions are called on
// them until the destructor returns.
#ifndef CONCORD_SERVER_RPC_HTTP_ENDPOINT_H_
#define CONCORD_SERVER_RPC_HTTP_ENDPOINT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace concord {

class HttpEndpoint {
 public:
  struct Answers {
    std::function<std::string()> metrics;
    std::function<bool()> is_serving;
  };

  // `listen`: "HOST:PORT" (port 0: any free one). INVALID_ARGUMENT
  // (INVALID_OPTION) for any other; UNAVAILABLE where it cannot be listened on.
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(
      const std::string& listen, Answers answers);
  ~HttpEndpoint();
  HttpEndpoint(const HttpEndpoint&) = delete;
  HttpEndpoint& operator=(const HttpEndpoint&) = delete;

  // With the port taken.
  const std::string& address() const { return address_; }

 private:
  struct Impl;
  explicit HttpEndpoint(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
  std::string address_;
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_HTTP_ENDPOINT_H_
