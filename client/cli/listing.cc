#include "client/cli/listing.h"

#include "absl/types/span.h"

namespace concord {
namespace {

template <class Facts>
std::vector<Listed<Facts>> All(absl::Span<const Facts> catalogue) {
  std::vector<Listed<Facts>> listed;
  for (const Facts& facts : catalogue) {
    listed.push_back({std::string(facts.name), &facts});
  }
  return listed;
}

// `find` gives the facts of a name.
template <class Facts, class Names, class Find>
std::vector<Listed<Facts>> Named(const Names& names, Find find) {
  std::vector<Listed<Facts>> listed;
  for (const std::string& name : names) listed.push_back({name, find(name)});
  return listed;
}

}  // namespace

Listing ListBuiltIn(absl::string_view version) {
  Listing listing;
  listing.version = std::string(version);
  listing.methods = All(MethodCatalogue());
  listing.momenta = All(MomentumCatalogue());
  listing.weights = All(WeightCatalogue());
  listing.lengths = All(LengthCatalogue());
  listing.loss_recorders = All(LossRecorderCatalogue());
  return listing;
}

Listing ListServer(absl::string_view server, const v1::ServerInfo& info) {
  Listing listing;
  listing.server = std::string(server);
  listing.version = info.version();
  listing.device = info.device();
  listing.methods = Named<MethodFacts>(info.combiners(), FindMethod);
  listing.momenta =
      Named<PartFacts>(info.momentum_operators(), [](const std::string& name) {
        return FindPart(MomentumCatalogue(), name);
      });
  listing.loss_recorders =
      Named<PartFacts>(info.loss_recorders(), [](const std::string& name) {
        return FindPart(LossRecorderCatalogue(), name);
      });
  return listing;
}

}  // namespace concord
