#include "client/cpp/connection.h"

#include <utility>

#include "client/cpp/status.h"
#include "grpcpp/impl/rpc_method.h"

namespace concord {
namespace {

using ByteStreamFactory =
    grpc::internal::ClientAsyncReaderWriterFactory<grpc::ByteBuffer,
                                                   grpc::ByteBuffer>;

// How long a healthy connection gets to send what it holds of lent memory
// before the call is cancelled.
constexpr absl::Duration kLoanGrace = absl::Milliseconds(100);
constexpr absl::Duration kLoanTick = absl::Milliseconds(1);

}  // namespace

// Shared by all slices of one loan period: its end says that none is left.
struct Connection::Loan {
  explicit Loan(std::shared_ptr<absl::Notification> returned)
      : returned(std::move(returned)) {}
  ~Loan() { returned->Notify(); }
  const std::shared_ptr<absl::Notification> returned;
};

Connection::Connection(Line line, const char* method)
    : channel_(line.channel),
      context_(std::make_unique<grpc::ClientContext>()) {
  line.Prepare(context_.get());
  // Sent together with the first message.
  context_->set_initial_metadata_corked(true);
  const grpc::internal::RpcMethod rpc(
      method, grpc::internal::RpcMethod::BIDI_STREAMING, channel_);
  stream_.reset(ByteStreamFactory::Create(channel_.get(), &queue_, rpc,
                                          context_.get(), /*start=*/true,
                                          /*tag=*/nullptr));
}

Connection::~Connection() {
  Finish(nullptr);
  ReturnLoans();
  stream_.reset();
  context_.reset();
  queue_.Shutdown();
  while (Pump(absl::InfiniteFuture())) {
  }
}

bool Connection::Pump(absl::Time until) {
  void* tag;
  bool ok;
  const auto event =
      until == absl::InfiniteFuture()
          ? queue_.AsyncNext(&tag, &ok, gpr_inf_future(GPR_CLOCK_REALTIME))
          : queue_.AsyncNext(&tag, &ok, absl::ToChronoTime(until));
  if (event != grpc::CompletionQueue::GOT_EVENT) return false;
  *static_cast<State*>(tag) = ok ? State::kDone : State::kFailed;
  return true;
}

bool Connection::Await(Operation operation, const Limit& limit) {
  while (state_[operation] == State::kPending) {
    if (Pump(limit.NextCheck())) continue;
    limited_ = limit.Check();
    if (!limited_.ok()) return false;
  }
  return state_[operation] == State::kDone;
}

bool Connection::Write(const grpc::ByteBuffer& message, const Limit& limit) {
  if (finished_ || !limited_.ok() || !Await(kWrite, limit)) return false;
  if (state_[kRead] == State::kFailed)
    return false;  // The server has ended it.
  Start(kWrite);
  stream_->Write(message, &state_[kWrite]);
  return true;
}

void Connection::StartRead() {
  if (state_[kRead] != State::kDone || have_message_) return;
  Start(kRead);
  have_message_ = true;
  stream_->Read(&received_, &state_[kRead]);
}

bool Connection::Read(grpc::ByteBuffer* message, const Limit& limit) {
  if (finished_ || !limited_.ok()) return false;
  StartRead();
  if (!Await(kRead, limit)) return false;
  have_message_ = false;
  message->Swap(&received_);
  return true;
}

bool Connection::Pending() const {
  for (const State state : state_) {
    if (state == State::kPending) return true;
  }
  return false;
}

void Connection::Cancel() {
  if (cancelled_) return;
  cancelled_ = true;
  context_->TryCancel();
}

void Connection::Settle(const Limit* limit) {
  while (Pending()) {
    if (Pump(cancelled_ || limit == nullptr ? absl::InfiniteFuture()
                                            : limit->NextCheck())) {
      continue;
    }
    limited_ = limit->Check();
    if (!limited_.ok()) Cancel();
  }
}

void Connection::Finish(const Limit* limit) {
  if (finished_) return;
  finished_ = true;
  const bool broken =
      state_[kWrite] == State::kFailed || state_[kRead] == State::kFailed;
  if (limit == nullptr || !broken) Cancel();
  Settle(limit);
  Start(kFinish);
  stream_->Finish(&end_, &state_[kFinish]);
  Settle(limit);
}

absl::Status Connection::Close(const Limit& limit) {
  Finish(&limit);
  if (!limited_.ok()) return limited_;
  if (end_.ok()) {
    return absl::UnavailableError(
        "the server ended the stream before its answer was complete");
  }
  return FromGrpc(end_);
}

absl::Status Connection::Leave(const Limit& limit) {
  if (finished_ || !limited_.ok() || !Await(kWrite, limit)) return Close(limit);
  Start(kWrite);
  stream_->WritesDone(&state_[kWrite]);
  for (grpc::ByteBuffer rest; Read(&rest, limit);) {
  }
  Finish(&limit);
  return limited_.ok() ? FromGrpc(end_) : limited_;
}

grpc::Slice Connection::Lend(wire::Fragment bytes) {
  if (loan_ == nullptr) {
    returned_ = std::make_shared<absl::Notification>();
    loan_ = std::make_shared<Loan>(returned_);
  }
  return wire::ShareSlice(loan_, bytes);
}

bool Connection::ReturnLoans() {
  loan_.reset();
  if (returned_ == nullptr) return !finished_;
  const absl::Time patience = absl::Now() + kLoanGrace;
  while (!returned_->HasBeenNotified()) {
    // Whoever polls moves gRPC on.
    Pump(absl::Now() + kLoanTick);
    if (absl::Now() > patience) Finish(nullptr);  // Drops what is queued.
  }
  returned_.reset();
  return !finished_;
}

bool Connection::AwaitLoans(const Limit& limit) {
  if (finished_ || !limited_.ok() || !Await(kWrite, limit)) return false;
  loan_.reset();
  if (returned_ == nullptr) return true;
  while (!returned_->HasBeenNotified()) {
    if (state_[kRead] == State::kFailed) return false;
    Pump(absl::Now() + kLoanTick);
    limited_ = limit.Check();
    if (!limited_.ok()) return false;
  }
  returned_.reset();
  return true;
}

}  // namespace concord
