#include "operators/combine/trimmed_mean.h"

#include "absl/strings/str_cat.h"
#include "operators/errors.h"

namespace concord {
namespace {

absl::Status CheckTrim(int trim, int64_t num_vectors) {
  if (trim >= 0 && 2 * int64_t{trim} < num_vectors) return absl::OkStatus();
  return InvalidField("INVALID_OPTION", "combiner.trimmed_mean.trim_number",
                      absl::StrCat(trim),
                      absl::StrCat("from 0 to ", (num_vectors - 1) / 2, " for ",
                                   num_vectors, " vectors"));
}

class TrimmedMean : public Combiner {
 public:
  explicit TrimmedMean(const TrimmedMeanOptions& options) : options_(options) {}

  std::string name() const override { return kTrimmedMeanName; }
  bool works_on_columns() const override { return true; }

  absl::StatusOr<Combination> Solve(const CombineInput& input) const override {
    const Eigen::Index m = input.gram.rows();
    const absl::Status status = CheckTrim(options_.trim_number, m);
    if (!status.ok()) return status;
    Combination result;
    result.coefficients.assign(m, 0.0);
    result.columns = TrimmedMeanRule{options_.trim_number};
    return result;
  }

 private:
  const TrimmedMeanOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeTrimmedMean(
    const TrimmedMeanOptions& options, int num_vectors) {
  if (options.trim_number < 0) {
    return InvalidField("INVALID_OPTION", "combiner.trimmed_mean.trim_number",
                        absl::StrCat(options.trim_number), "at least 0");
  }
  if (num_vectors > 0) {
    const absl::Status status = CheckTrim(options.trim_number, num_vectors);
    if (!status.ok()) return status;
  }
  return std::make_unique<TrimmedMean>(options);
}

}  // namespace concord
