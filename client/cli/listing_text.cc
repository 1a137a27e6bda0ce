#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "client/cli/listing.h"
#include "client/cli/table.h"

namespace concord {
namespace {

std::string Methods(const std::vector<Listed<MethodFacts>>& methods) {
  std::vector<Row> rows = {{"combiner", "family", "kind", "conflict-free",
                            "scale-free", "remembers", "coefficients"}};
  for (const auto& [name, facts] : methods) {
    if (facts == nullptr) {
      rows.push_back({Printable(name), "?"});
      continue;
    }
    const absl::string_view state = facts->state.empty() ? "–" : facts->state;
    Row row = {Printable(name)};
    for (absl::string_view cell :
         {facts->family, MethodKindName(facts->kind), facts->conflict_free,
          facts->scale_invariant, state, facts->formula}) {
      row.emplace_back(cell);
    }
    rows.push_back(std::move(row));
  }
  return Aligned(rows);
}

std::string Parts(absl::string_view title,
                  const std::vector<Listed<PartFacts>>& parts) {
  std::vector<Row> rows = {{std::string(title)}};
  for (const auto& [name, facts] : parts) {
    rows.push_back({Printable(name),
                    facts == nullptr ? "?" : std::string(facts->formula)});
  }
  return absl::StrCat("\n", Aligned(rows));
}

}  // namespace

std::string ToText(const Listing& listing) {
  std::string text =
      listing.server.empty()
          ? absl::StrCat("Built into concord ", listing.version, "\n\n")
          : absl::StrCat("concord-server ", Printable(listing.version), " at ",
                         listing.server, ", on ", Printable(listing.device),
                         "\n\n");
  absl::StrAppend(&text, Methods(listing.methods),
                  Parts("momentum operator", listing.momenta));
  if (listing.weights) {
    absl::StrAppend(&text, Parts("weight", *listing.weights));
  }
  if (listing.lengths) {
    absl::StrAppend(&text, Parts("length", *listing.lengths));
  }
  absl::StrAppend(
      &text, Parts("loss recorder", listing.loss_recorders),
      "\nv_i the vectors, n_i their lengths, K their Gram matrix, C their "
      "cosines; w the weights,\np the preference, c the coefficients of the "
      "direction d = Σ c_i v_i. Guarantees are those for\nlinearly independent "
      "vectors: yes, no, or where they hold.\n");
  return text;
}

}  // namespace concord
