// A client's connection that can break as it does when the client's machine
// goes: at once, without a word of gRPC's.
#ifndef CONCORD_TESTS_SERVER_RPC_BREAKABLE_CONNECTION_H_
#define CONCORD_TESTS_SERVER_RPC_BREAKABLE_CONNECTION_H_

#include <memory>
#include <string>

#include "grpcpp/channel.h"

namespace concord {

class BreakableConnection {
 public:
  // `address`: "127.0.0.1:PORT". Aborts the test where nobody listens.
  explicit BreakableConnection(const std::string& address);
  ~BreakableConnection();
  BreakableConnection(const BreakableConnection&) = delete;
  BreakableConnection& operator=(const BreakableConnection&) = delete;

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // Both directions end. Any thread.
  void Break();

 private:
  int socket_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace concord

#endif  // CONCORD_TESTS_SERVER_RPC_BREAKABLE_CONNECTION_H_
