#include "operators/momentum/momentum_operator.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "operators/momentum/no_momentum.h"
#include "operators/momentum/pseudo_momentum.h"
#include "operators/momentum/staged_operator.h"

namespace concord {
namespace {

absl::Status ValidateBeta(const char* field, double beta) {
  // The negation also refuses NaN.
  if (!(beta >= 0 && beta < 1)) {
    return InvalidField("INVALID_OPTION", field, absl::StrCat(beta), "[0, 1)");
  }
  return absl::OkStatus();
}

size_t VectorsHeld(const OperatorOptions& options) {
  const size_t k = MaxVectorsPerStep(options);
  return std::holds_alternative<NoMomentumOptions>(options.momentum)
             ? k
             : options.num_vectors + 1 + k;
}

}  // namespace

absl::Status MomentumOperator::Validate(const OperatorOptions& options) {
  if (options.num_vectors < 1) {
    return InvalidField("INVALID_OPTION", "num_vectors",
                        absl::StrCat(options.num_vectors), ">= 1");
  }
  if (options.max_vectors_per_step < 0 ||
      options.max_vectors_per_step > options.num_vectors) {
    return InvalidField("INVALID_OPTION", "max_vectors_per_step",
                        absl::StrCat(options.max_vectors_per_step),
                        absl::StrCat("0 (all) … ", options.num_vectors));
  }
  const size_t most =
      (std::numeric_limits<size_t>::max() / 2 / VectorsHeld(options) -
       kVectorAlignment) /
      SizeOf(options.dtype);
  if (options.num_parameters < 1 || options.num_parameters > most) {
    return InvalidField("INVALID_OPTION", "num_parameters",
                        absl::StrCat(options.num_parameters),
                        absl::StrCat("1 … ", most));
  }
  if (const auto* pseudo =
          std::get_if<PseudoMomentumOptions>(&options.momentum)) {
    absl::Status status = ValidateBeta("beta_1", pseudo->beta_1);
    if (!status.ok()) return status;
    status = ValidateBeta("beta_2", pseudo->beta_2);
    if (!status.ok()) return status;
  }
  return MakeCombiner(options.combiner, options.num_vectors).status();
}

size_t MomentumOperator::MemoryBytes(const OperatorOptions& options) {
  return VectorsHeld(options) * VectorStride(options);
}

absl::StatusOr<std::unique_ptr<MomentumOperator>> MomentumOperator::Create(
    const OperatorOptions& options, std::shared_ptr<Kernels> kernels) {
  absl::Status status = Validate(options);
  if (!status.ok()) return status;
  absl::StatusOr<std::unique_ptr<Combiner>> combiner =
      MakeCombiner(options.combiner, options.num_vectors);
  if (!combiner.ok()) return combiner.status();
  std::unique_ptr<LossRecorder> recorder;
  if (options.loss_recorder.has_value()) {
    absl::StatusOr<std::unique_ptr<LossRecorder>> made =
        MakeLossRecorder(*options.loss_recorder, options.num_vectors);
    if (!made.ok()) return made.status();
    recorder = *std::move(made);
  }
  const auto make = std::holds_alternative<NoMomentumOptions>(options.momentum)
                        ? MakeNoMomentum
                        : MakePseudoMomentum;
  return make(options, std::move(kernels), *std::move(combiner),
              std::move(recorder));
}

std::vector<std::string> MomentumOperatorNames() {
  return {kPseudoMomentumName, kNoMomentumName};
}

}  // namespace concord
