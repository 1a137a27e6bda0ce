#include "server/rpc/local_pipe.h"

#include <poll.h>

#include <string>
#include <utility>
#include <vector>

#include "google/rpc/status.pb.h"

namespace concord {
namespace {

using Kind = local::MessageSocket::Kind;

// A client that has ended its side, but is there, wakes every poll(): writes to
// it look again after this long.
constexpr int kTickMs = 100;

}  // namespace

bool LocalPipe::Wait(int descriptor, short events) const {
  pollfd poll = {descriptor, static_cast<short>(events | POLLRDHUP), 0};
  const int ready = ::poll(&poll, 1, -1);
  if (cancelled_.load(std::memory_order_acquire)) return false;
  if (ready > 0 && (poll.revents & (events | POLLHUP | POLLERR)) == 0) {
    poll.events = events;
    ::poll(&poll, 1, kTickMs);
  }
  return !cancelled_.load(std::memory_order_acquire);
}

bool LocalPipe::Read(grpc::ByteBuffer* message) {
  const auto wait = [this](int descriptor, short events) {
    return Wait(descriptor, events);
  };
  while (true) {
    local::MessageSocket::Message received;
    if (!socket_.Read(&received, wait)) return false;
    if (received.kind == Kind::kMessage) {
      *message = grpc::ByteBuffer(&received.bytes, 1);
      return true;
    }
    if (received.kind != Kind::kRegion || !Take(std::move(received.file))) {
      return false;
    }
  }
}

bool LocalPipe::Take(FileDescriptor file) {
  const Kind answer =
      Map(std::move(file)).ok() ? Kind::kRegionTaken : Kind::kRegionRefused;
  return socket_.Write(answer, {}, /*file=*/-1,
                       [this](int descriptor, short events) {
                         return Wait(descriptor, events);
                       });
}

absl::Status LocalPipe::Map(FileDescriptor file) {
  if (regions_.size() >= kMaxRegions) {
    return absl::ResourceExhaustedError("too many regions");
  }
  absl::StatusOr<local::MemoryRegion> region =
      local::MemoryRegion::Receive(std::move(file));
  if (!region.ok()) return region.status();
  auto reservation = budget_->Reserve(region->bytes().size());
  if (!reservation.ok()) return reservation.status();
  regions_.push_back({*std::move(region), *std::move(reservation)});
  return absl::OkStatus();
}

bool LocalPipe::Write(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  return message.Dump(&slices).ok() &&
         socket_.Write(Kind::kMessage, slices, /*file=*/-1,
                       [this](int descriptor, short events) {
                         return Wait(descriptor, events);
                       });
}

void LocalPipe::Cancel(const absl::Status&) {
  cancelled_.store(true, std::memory_order_release);
  socket_.EndReads();
}

bool LocalPipe::IsCancelled() const {
  return cancelled_.load(std::memory_order_acquire) || socket_.IsHungUp();
}

absl::Span<std::byte> LocalPipe::Region(uint32_t number) const {
  if (number == 0 || number > regions_.size()) return {};
  return regions_[number - 1].region.bytes();
}

void LocalPipe::End(const grpc::Status& status) {
  google::rpc::Status end;
  if (!status.error_details().empty()) {
    end.ParseFromString(status.error_details());
  }
  end.set_code(status.error_code());
  end.set_message(status.error_message());
  const grpc::Slice bytes(status.ok() ? std::string()
                                      : end.SerializeAsString());
  socket_.Write(Kind::kEnd, {&bytes, 1}, /*file=*/-1,
                [](int, short) { return false; });
}

}  // namespace concord
