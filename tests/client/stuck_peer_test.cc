// A peer that accepts a worker and then takes nothing more off its socket, with
// HTTP/2 windows wide open: gRPC holds the caller's memory in a write that the
// kernel will not finish. Step must nevertheless return in time, and with the
// memory free. (A gRPC server cannot play this: its flow control stops the
// client long before the socket is full.)
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"
#include "concord/v1/step.pb.h"
#include "gtest/gtest.h"

namespace concord {
namespace {

constexpr size_t kParameters = size_t{16} << 20;

std::string BigEndian(uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) {
    text += static_cast<char>(value >> (8 * i) & 0xff);
  }
  return text;
}

// RFC 9113, section 4.1.
std::string Frame(int type, int flags, uint32_t stream,
                  const std::string& payload) {
  return absl::StrCat(BigEndian(payload.size(), 3), BigEndian(type, 1),
                      BigEndian(flags, 1), BigEndian(stream, 4), payload);
}

enum FrameType { kData = 0, kHeaders = 1, kSettings = 4, kWindowUpdate = 8 };

class StuckPeer {
 public:
  StuckPeer() : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    const int buffer = 64 << 10;
    setsockopt(listener_, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 1), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    address_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
    thread_ = std::thread([this] { AcceptOne(); });
  }

  ~StuckPeer() {
    thread_.join();
    if (connection_ >= 0) close(connection_);
    close(listener_);
  }

  const std::string& address() const { return address_; }

 private:
  bool Read(size_t bytes, std::string* to) {
    to->assign(bytes, '\0');
    return recv(connection_, to->data(), bytes, MSG_WAITALL) ==
           static_cast<ssize_t>(bytes);
  }

  void Send(const std::string& bytes) {
    EXPECT_EQ(send(connection_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }

  // Answers the Join and leaves it at that.
  void AcceptOne() {
    connection_ = accept(listener_, nullptr, nullptr);
    std::string bytes;
    ASSERT_TRUE(Read(24, &bytes));  // The connection preface.
    constexpr uint32_t kWidest = 0x7fffffff;
    Send(Frame(kSettings, 0, 0,
               absl::StrCat(BigEndian(4, 2), BigEndian(kWidest, 4))));
    Send(Frame(kWindowUpdate, 0, 0, BigEndian(kWidest - 65535, 4)));
    for (;;) {
      ASSERT_TRUE(Read(9, &bytes));
      const auto byte = [&](int i) { return static_cast<uint8_t>(bytes[i]); };
      const size_t length = byte(0) << 16 | byte(1) << 8 | byte(2);
      const int type = byte(3);
      const bool acknowledged = byte(4) & 1;
      std::string payload;
      ASSERT_TRUE(Read(length, &payload));
      if (type == kSettings && !acknowledged) Send(Frame(kSettings, 1, 0, ""));
      if (type == kData) break;
    }
    v1::StepResponse response;
    response.mutable_joined()->set_uid("uid-1");
    response.mutable_joined()->set_epoch(1);
    response.mutable_joined()->set_num_parameters(kParameters);
    response.mutable_joined()->set_data_type(v1::FLOAT32);
    response.mutable_joined()->set_num_vectors(1);
    const std::string message = response.SerializeAsString();
    // :status 200 and content-type (index 31), RFC 7541.
    const std::string content_type = "application/grpc";
    Send(Frame(kHeaders, 4, 1,
               absl::StrCat("\x88\x0f\x10", BigEndian(content_type.size(), 1),
                            content_type)));
    Send(Frame(
        kData, 0, 1,
        absl::StrCat(BigEndian(0, 1), BigEndian(message.size(), 4), message)));
  }

  const int listener_;
  int connection_ = -1;
  std::string address_;
  std::thread thread_;
};

TEST(StuckPeer, StepEndsInTimeAndGivesTheMemoryBack) {
  StuckPeer peer;
  ClientOptions client_options;
  client_options.keepalive_timeout = absl::Seconds(1);
  auto client = Client::Connect(peer.address(), client_options);
  WorkerOptions options;
  options.session = "sessions/job";
  auto worker = (*client)->OpenWorker(options);
  ASSERT_TRUE(worker.ok()) << worker.status();

  std::vector<float> gradient(kParameters, 1.f);
  std::vector<float> update(kParameters);
  StepOptions step;
  step.timeout = absl::Milliseconds(200);
  const absl::Time start = absl::Now();
  const auto outcome =
      (*worker)->Step({{0, gradient.data()}}, {}, update.data(), step);
  EXPECT_TRUE(absl::IsDeadlineExceeded(outcome.status())) << outcome.status();
  // keepalive_timeout, with room for a busy machine.
  EXPECT_LT(absl::Now() - start, absl::Seconds(15));
}

}  // namespace
}  // namespace concord
