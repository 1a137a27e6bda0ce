// Messages and memory between two ends of a local socket.
#include "proto/local/message_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/local/memory_region.h"

namespace concord::local {
namespace {

using ::testing::StartsWith;
using Kind = MessageSocket::Kind;

bool Patiently(int descriptor, short events) {
  pollfd poll = {descriptor, events, 0};
  return ::poll(&poll, 1, 10'000) > 0;
}

// Two connected ends.
struct Ends {
  Ends() : Ends(Connected()) {}
  explicit Ends(std::pair<FileDescriptor, FileDescriptor> sockets)
      : client(std::move(sockets.first)), server(std::move(sockets.second)) {}

  static std::pair<FileDescriptor, FileDescriptor> Connected() {
    absl::StatusOr<Listener> listener = Listen();
    EXPECT_TRUE(listener.ok()) << listener.status();
    auto client = MessageSocket::Connect(listener->name);
    EXPECT_TRUE(client.ok()) << client.status();
    auto server = MessageSocket::Accept(listener->socket);
    EXPECT_TRUE(server.ok()) << server.status();
    return {*std::move(client), *std::move(server)};
  }

  MessageSocket client;
  MessageSocket server;
};

std::string Text(const grpc::Slice& slice) {
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

std::string Pattern(size_t size) {
  std::string text(size, ' ');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 >> 3);
  return text;
}

TEST(MessageSocket, MessagesOfEverySizeArriveInTheirOrder) {
  Ends ends;
  const std::vector<size_t> sizes = {0,      1,      7,       65'527,  65'528,
                                     65'536, 65'537, 300'000, 4 << 20, 3};
  std::thread writer([&] {
    for (const size_t size : sizes) {
      const std::string text = Pattern(size);
      const grpc::Slice parts[] = {grpc::Slice(text.substr(0, size / 3)),
                                   grpc::Slice(text.substr(size / 3))};
      ASSERT_TRUE(ends.client.Write(Kind::kMessage, parts, -1, Patiently));
    }
    ends.client.EndWrites();
  });
  MessageSocket::Message message;
  for (const size_t size : sizes) {
    ASSERT_TRUE(ends.server.Read(&message, Patiently));
    EXPECT_EQ(message.kind, Kind::kMessage);
    EXPECT_TRUE(Text(message.bytes) == Pattern(size)) << size;
  }
  EXPECT_FALSE(ends.server.Read(&message, Patiently));
  writer.join();
}

TEST(MessageSocket, MemoryComesWithItsMessage) {
  Ends ends;
  for (int i = 1; i <= 3; ++i) {
    const auto region = MemoryRegion::Create(4096);
    ASSERT_TRUE(region.ok()) << region.status();
    region->bytes()[5] = static_cast<std::byte>(i);
    const grpc::Slice text("between");
    ASSERT_TRUE(
        ends.client.Write(Kind::kRegion, {}, region->file().get(), Patiently));
    ASSERT_TRUE(ends.client.Write(Kind::kMessage, {&text, 1}, -1, Patiently));
  }
  for (int i = 1; i <= 3; ++i) {
    MessageSocket::Message message;
    ASSERT_TRUE(ends.server.Read(&message, Patiently));
    ASSERT_EQ(message.kind, Kind::kRegion);
    const auto region = MemoryRegion::Receive(std::move(message.file));
    ASSERT_TRUE(region.ok()) << region.status();
    EXPECT_EQ(region->bytes()[5], static_cast<std::byte>(i));
    ASSERT_TRUE(ends.server.Read(&message, Patiently));
    EXPECT_EQ(Text(message.bytes), "between");
    EXPECT_FALSE(message.file.is_open());
  }
}

TEST(MessageSocket, ARegionWithoutMemoryEndsTheStream) {
  Ends ends;
  ASSERT_TRUE(ends.client.Write(Kind::kRegion, {}, -1, Patiently));
  MessageSocket::Message message;
  EXPECT_FALSE(ends.server.Read(&message, Patiently));
}

TEST(MessageSocket, WhatIsNoMessageEndsTheStream) {
  const std::pair<uint32_t, uint32_t> heads[] = {
      {0, 5}, {kMaxMessageBytes + 1, 0}, {~0u, ~0u}};
  for (const auto& [length, kind] : heads) {
    auto [client, server] = Ends::Connected();
    const uint32_t head[] = {length, kind};
    ASSERT_EQ(::write(client.get(), head, sizeof(head)),
              static_cast<ssize_t>(sizeof(head)));
    MessageSocket socket(std::move(server));
    MessageSocket::Message message;
    EXPECT_FALSE(socket.Read(&message, Patiently)) << length << " " << kind;
  }
}

TEST(MessageSocket, AWaitThatGivesUpEndsTheCall) {
  Ends ends;
  const auto give_up = [](int, short) { return false; };
  MessageSocket::Message message;
  EXPECT_FALSE(ends.server.Read(&message, give_up));
  // More than any socket takes at once; and half a message can have no other
  // behind it.
  const grpc::Slice large(Pattern(4 << 20));
  EXPECT_FALSE(ends.client.Write(Kind::kMessage, {&large, 1}, -1, give_up));
  EXPECT_FALSE(ends.client.Write(Kind::kMessage, {}, -1, Patiently));
}

TEST(MessageSocket, TheDeathOfTheOtherSideIsSeen) {
  auto [client, server] = Ends::Connected();
  MessageSocket socket(std::move(server));
  EXPECT_FALSE(socket.IsHungUp());
  client.Close();
  EXPECT_TRUE(socket.IsHungUp());
  MessageSocket::Message message;
  EXPECT_FALSE(socket.Read(&message, Patiently));
  EXPECT_FALSE(socket.Write(Kind::kMessage, {}, -1, Patiently));
}

TEST(MessageSocket, AReaderIsWokenByEndReads) {
  Ends ends;
  std::thread reader([&] {
    MessageSocket::Message message;
    EXPECT_FALSE(ends.server.Read(&message, Patiently));
  });
  ends.server.EndReads();
  reader.join();
}

TEST(MessageSocket, NobodyListensUnderAnotherName) {
  const auto first = Listen();
  const auto second = Listen();
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_THAT(first->name, StartsWith("concord-"));
  EXPECT_NE(first->name, second->name);
  EXPECT_EQ(MessageSocket::Connect("concord-nobody").status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(MessageSocket::Accept(first->socket).status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace concord::local
