// Facts about everything that an operator can be made of: what each method
// computes, guarantees and remembers, in the words that users read. They are
// kept here and nowhere else; the command line shows them, and a test holds the
// table of docs/operators.md to them. A method's manual is its own header.
//
// In the formulas: v_i the m vectors, n_i = |v_i|, K their Gram matrix, C their
// cosine matrix, w the weights, p the preference (1/m each), c the coefficients
// of the direction d = sum_i c_i v_i.
#ifndef CONCORD_OPERATORS_CATALOGUE_H_
#define CONCORD_OPERATORS_CATALOGUE_H_

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace concord {

enum class MethodKind {
  kLinear,   // A function of K: one coefficient per vector.
  kColumns,  // Looks at one parameter of all vectors at a time.
};

// "linear", "columns".
absl::string_view MethodKindName(MethodKind kind);

// A guarantee is "yes", "no", or the condition under which it holds; given for
// linearly independent vectors.
struct MethodFacts {
  absl::string_view name;    // That of the registry: "ConFIGOperator".
  absl::string_view family;  // What it has in common with others.
  MethodKind kind = MethodKind::kLinear;
  // No vector's product with the direction is negative.
  absl::string_view conflict_free;
  // The direction stays the same when single vectors are multiplied by positive
  // numbers.
  absl::string_view scale_invariant;
  absl::string_view state =
      "";  // What it remembers between steps; empty: nothing.
  absl::string_view formula;
  absl::string_view paper = "";  // Empty where there is none to cite.
};

// A part that is described by its formula alone.
struct PartFacts {
  absl::string_view name;
  absl::string_view formula;
};

// All methods of the registry (combine/combiner.h), in its order.
absl::Span<const MethodFacts> MethodCatalogue();

// Null for a name that is not in the catalogue.
const MethodFacts* FindMethod(absl::string_view name);

absl::Span<const PartFacts> MomentumCatalogue();
absl::Span<const PartFacts> WeightCatalogue();
absl::Span<const PartFacts> LengthCatalogue();
absl::Span<const PartFacts> LossRecorderCatalogue();

// The part of that name; null where there is none.
const PartFacts* FindPart(absl::Span<const PartFacts> parts,
                          absl::string_view name);

}  // namespace concord

#endif  // CONCORD_OPERATORS_CATALOGUE_H_
