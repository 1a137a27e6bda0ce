// The registry of combiners. What a combiner is: combination.h; one header per
// method.
#ifndef CONCORD_OPERATORS_COMBINE_COMBINER_H_
#define CONCORD_OPERATORS_COMBINE_COMBINER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"
#include "operators/combine/combiner_options.h"
#include "operators/combine/gram.h"

namespace concord {

// A combiner for operators over `num_vectors` vectors (0: any number).
// INVALID_ARGUMENT (INVALID_OPTION) names the field that is out of range.
absl::StatusOr<std::unique_ptr<Combiner>> MakeCombiner(
    const CombinerOptions& options, int num_vectors);

// Whether a combiner with the options `to` goes on from the state of one with
// `from`: the same method, and the same kind of weights or order. Else it
// begins anew.
bool KeepsState(const CombinerOptions& from, const CombinerOptions& to);

// Names of all combiners.
std::vector<std::string> CombinerNames();

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_COMBINER_H_
