#include "server/rpc/listen_address.h"

#include "gtest/gtest.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

TEST(ListenAddress, KnowsWhatOtherMachinesCanReach) {
  for (const char* text : {"127.0.0.1:0", "localhost:1", "[::1]:80",
                           "127.8.9.1:65535", "unix:/run/concord"}) {
    EXPECT_TRUE(ParseListenAddress(text).value().is_local) << text;
  }
  for (const char* text :
       {"0.0.0.0:1", "[::]:1", "example.org:1", "127.evil.org:1"}) {
    EXPECT_FALSE(ParseListenAddress(text).value().is_local) << text;
  }
}

TEST(ListenAddress, RefusesWhatIsNone) {
  for (const char* text : {"", ":1", "host", "host:", "host:65536", "::1:5",
                           "[]:1", "[host]:1", "unix:", "host:-1"}) {
    EXPECT_FALSE(ParseListenAddress(text).ok()) << text;
  }
}

TEST(ListenAddress, PrintsThePortTaken) {
  EXPECT_EQ(ParseListenAddress("[::1]:0").value().WithPort(7), "[::1]:7");
  EXPECT_EQ(ParseListenAddress("localhost:0").value().WithPort(7),
            "localhost:7");
  EXPECT_EQ(ParseListenAddress("unix:/a").value().WithPort(1), "unix:/a");
}

TEST(ListenAddress, RemoteNeedsTheFlag) {
  EventLog log([](const std::string&) {});
  Server::Options options;
  options.listen = {"0.0.0.0:0"};
  options.log = &log;
  const auto server = Server::Start(options);
  EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(server.status().message().find("--allow-insecure-remote"),
            absl::string_view::npos);
}

}  // namespace
}  // namespace concord
