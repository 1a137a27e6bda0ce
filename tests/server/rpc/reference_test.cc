// The reference pages against the descriptors of this binary, both ways.
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "concord/v1/concord.grpc.pb.h"
#include "concord/v1/errors.pb.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "server/rpc/service.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

// What is between the first pair of ` in each row of the table under the
// line `head`.
std::set<std::string> FirstCells(const std::string& page,
                                 const std::string& head) {
  std::ifstream file(absl::StrCat(CONCORD_SOURCE_DIR, "/docs/", page));
  std::set<std::string> cells;
  std::string line;
  while (std::getline(file, line) && line != head) {
  }
  std::getline(file, line);  // |---|
  while (std::getline(file, line) && absl::StartsWith(line, "| `")) {
    const std::vector<std::string> parts = absl::StrSplit(line, '`');
    EXPECT_TRUE(cells.insert(parts[1]).second) << "twice: " << parts[1];
  }
  return cells;
}

TEST(Reference, TellsOfEveryErrorReason) {
  std::set<std::string> reasons;
  const google::protobuf::EnumDescriptor* all = v1::ErrorReason_descriptor();
  for (int i = 0; i < all->value_count(); ++i) {
    if (all->value(i)->number() != 0) reasons.insert(all->value(i)->name());
  }
  EXPECT_EQ(FirstCells("troubleshooting.md",
                       "| reason | status | retry | what happened, and what "
                       "helps |"),
            reasons);
}

TEST(Reference, TellsOfEveryMethod) {
  const TestServer server;  // Makes the linker take the service's file.
  std::set<std::string> methods;
  const google::protobuf::ServiceDescriptor* service =
      google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
          kServiceName);
  ASSERT_NE(service, nullptr);
  for (int i = 0; i < service->method_count(); ++i) {
    methods.insert(service->method(i)->name());
  }
  EXPECT_EQ(FirstCells("reference.md", "| method | right | what |"), methods);
}

}  // namespace
}  // namespace concord
