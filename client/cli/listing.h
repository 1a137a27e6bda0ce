// What `concord operators` lists: names, and the facts that the catalogue
// (operators/catalogue.h) has about them.
#ifndef CONCORD_CLIENT_CLI_LISTING_H_
#define CONCORD_CLIENT_CLI_LISTING_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "concord/v1/server_info.pb.h"
#include "operators/catalogue.h"

namespace concord {

// A newer server may have what this program's catalogue does not know: `facts`
// is then null.
template <class Facts>
struct Listed {
  std::string name;
  const Facts* facts = nullptr;
};

struct Listing {
  std::string server;   // Its address; empty: what is built in.
  std::string version;  // Of the server, or of this program.
  std::string device;   // Of the server.
  std::vector<Listed<MethodFacts>> methods;
  std::vector<Listed<PartFacts>> momenta;
  // None where a server is listed: servers do not name theirs.
  std::optional<std::vector<Listed<PartFacts>>> weights;
  std::optional<std::vector<Listed<PartFacts>>> lengths;
  std::vector<Listed<PartFacts>> loss_recorders;
};

Listing ListBuiltIn(absl::string_view version);
Listing ListServer(absl::string_view server, const v1::ServerInfo& info);

// A table for people.
std::string ToText(const Listing& listing);

// One object; what is not known (weights of a server, facts of a method) is
// left out.
std::string ToJson(const Listing& listing);

}  // namespace concord

#endif  // CONCORD_CLIENT_CLI_LISTING_H_
