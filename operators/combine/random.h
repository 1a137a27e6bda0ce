// Random weights: c = softmax of m standard normal numbers, new ones in each
// step (Lin, Ye, Zhang, Tsang: "Reasonable Effectiveness of Random Weighting",
// TMLR 2022, algorithm 2, RGW). Zero vectors count. Guarantees nothing where
// vectors conflict. O(m^2).
//
// State: the number of solved steps. The weights are a function of seed, step
// and the vectors' indexes alone.
#ifndef CONCORD_OPERATORS_COMBINE_RANDOM_H_
#define CONCORD_OPERATORS_COMBINE_RANDOM_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "operators/combine/combination.h"

namespace concord {

inline constexpr char kRandomName[] = "RandomOperator";

struct RandomOptions {
  uint64_t seed = 0;
  bool operator==(const RandomOptions&) const = default;
};

absl::StatusOr<std::unique_ptr<Combiner>> MakeRandom(
    const RandomOptions& options, int num_vectors);

}  // namespace concord

#endif  // CONCORD_OPERATORS_COMBINE_RANDOM_H_
