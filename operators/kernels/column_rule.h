// How a method that works on columns makes one element of its direction from
// the vectors' elements x_1 … x_m at the same place.
//
// GradDrop (Chen et al.: "Just Pick a Sign: Optimizing Deep Multitask Models
// with Gradient Sign Dropout", NeurIPS 2020, algorithm 1): with
//   P = (1 + sum x_i / sum |x_i|) / 2   and U uniform in (0, 1)
// the positive x_i stay where P > U and the negative ones where P < U; of the
// others the part leak_i stays. Their sum is the element.
// U is a function of seed, step and the column: UniformOfColumn in
// counter_random.h.
//
// TrimmedMean (Yin et al.: "Byzantine-Robust Distributed Learning", ICML 2018):
// the mean without the `trim` largest and the `trim` smallest x_i.
#ifndef CONCORD_OPERATORS_KERNELS_COLUMN_RULE_H_
#define CONCORD_OPERATORS_KERNELS_COLUMN_RULE_H_

#include <cstdint>
#include <variant>
#include <vector>

namespace concord {

struct SignDropRule {
  uint64_t seed = 0;
  uint64_t step = 0;
  std::vector<double> leak;  // One per row, in [0, 1].
};

struct TrimmedMeanRule {
  int trim = 0;  // 2 trim < rows.
};

using ColumnRule = std::variant<SignDropRule, TrimmedMeanRule>;

}  // namespace concord

#endif  // CONCORD_OPERATORS_KERNELS_COLUMN_RULE_H_
