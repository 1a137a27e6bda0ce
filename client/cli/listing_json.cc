#include "absl/strings/string_view.h"
#include "client/cli/listing.h"
#include "nlohmann/json.hpp"

namespace concord {
namespace {

// Keeps the order in which keys are written.
using Json = nlohmann::ordered_json;

std::string String(absl::string_view text) { return std::string(text); }

Json Entry(const Listed<MethodFacts>& method) {
  Json entry = {{"name", method.name}};
  if (method.facts == nullptr) return entry;
  const MethodFacts& facts = *method.facts;
  entry["family"] = String(facts.family);
  entry["kind"] = String(MethodKindName(facts.kind));
  entry["conflict_free"] = String(facts.conflict_free);
  entry["scale_invariant"] = String(facts.scale_invariant);
  entry["state"] = String(facts.state);
  entry["formula"] = String(facts.formula);
  entry["paper"] = String(facts.paper);
  return entry;
}

Json Entry(const Listed<PartFacts>& part) {
  Json entry = {{"name", part.name}};
  if (part.facts != nullptr) entry["formula"] = String(part.facts->formula);
  return entry;
}

template <class Facts>
Json Entries(const std::vector<Listed<Facts>>& listed) {
  Json entries = Json::array();
  for (const Listed<Facts>& one : listed) entries.push_back(Entry(one));
  return entries;
}

}  // namespace

std::string ToJson(const Listing& listing) {
  Json json;
  if (!listing.server.empty()) json["server"] = listing.server;
  json["version"] = listing.version;
  if (!listing.device.empty()) json["device"] = listing.device;
  json["combiners"] = Entries(listing.methods);
  json["momentum_operators"] = Entries(listing.momenta);
  if (listing.weights) json["weights"] = Entries(*listing.weights);
  if (listing.lengths) json["lengths"] = Entries(*listing.lengths);
  json["loss_recorders"] = Entries(listing.loss_recorders);
  // Names come from a server: what is no UTF-8 is replaced.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace concord
