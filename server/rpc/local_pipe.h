// A stream's messages over a local socket, with memory of the client's beside
// them (proto/local/message_socket.h).
#ifndef CONCORD_SERVER_RPC_LOCAL_PIPE_H_
#define CONCORD_SERVER_RPC_LOCAL_PIPE_H_

#include <atomic>
#include <memory>
#include <vector>

#include "grpcpp/support/status.h"
#include "proto/local/memory_region.h"
#include "proto/local/message_socket.h"
#include "server/rpc/message_pipe.h"
#include "server/session/memory_budget.h"

namespace concord {

class LocalPipe final : public MessagePipe {
 public:
  // A stream has so many regions at most.
  static constexpr size_t kMaxRegions = 1024;

  // `budget`: of what clients pass; the regions' bytes are its for as long as
  // the pipe is there.
  LocalPipe(FileDescriptor socket, std::shared_ptr<MemoryBudget> budget)
      : socket_(std::move(socket)), budget_(std::move(budget)) {}

  // Maps what the client passes while it waits for a message. A region that is
  // not as it must be, or beyond the budget, is refused, and the stream goes
  // on.
  bool Read(grpc::ByteBuffer* message) override;
  bool Write(const grpc::ByteBuffer& message) override;
  void Cancel(const absl::Status& reason) override;
  bool IsCancelled() const override;
  absl::Span<std::byte> Region(uint32_t number) const override;

  // Tells the client how the stream has ended, if it takes it at once.
  void End(const grpc::Status& status);

 private:
  struct Mapped {
    local::MemoryRegion region;
    std::unique_ptr<MemoryBudget::Reservation> reservation;
  };
  // Answers the offer; false as for Write.
  bool Take(FileDescriptor file);
  absl::Status Map(FileDescriptor file);
  // Waits without an end, unless it is cancelled.
  bool Wait(int descriptor, short events) const;

  local::MessageSocket socket_;
  const std::shared_ptr<MemoryBudget> budget_;
  std::vector<Mapped> regions_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace concord

#endif  // CONCORD_SERVER_RPC_LOCAL_PIPE_H_
