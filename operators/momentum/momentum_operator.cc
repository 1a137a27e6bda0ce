#include "operators/momentum/momentum_operator.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "operators/momentum/no_momentum.h"
#include "operators/momentum/pseudo_momentum.h"
#include "operators/momentum/separate_momentum.h"
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

absl::Status ValidateMomentum(double beta_1, double beta_2,
                              const ParticipationOptions& participation) {
  absl::Status status = ValidateBeta("beta_1", beta_1);
  if (status.ok()) status = ValidateBeta("beta_2", beta_2);
  if (status.ok()) status = ValidateParticipation(participation);
  return status;
}

struct Validator {
  absl::Status operator()(const PseudoMomentumOptions& options) const {
    return ValidateMomentum(options.beta_1, options.beta_2,
                            options.participation);
  }
  absl::Status operator()(const SeparateMomentumOptions& options) const {
    return ValidateMomentum(options.beta_1, options.beta_2,
                            options.participation);
  }
  absl::Status operator()(const NoMomentumOptions&) const {
    return absl::OkStatus();
  }
};

// Of an operator whose combiner works on columns, or not.
size_t VectorsHeld(const OperatorOptions& options, bool columns,
                   bool keeps_committed) {
  const size_t k = MaxVectorsPerStep(options);
  const size_t m = options.num_vectors;
  // Vectors that a commit writes in place, or beside the committed ones.
  const size_t copies = keeps_committed ? 2 : 1;
  const size_t directions = columns ? copies : 0;
  if (std::holds_alternative<NoMomentumOptions>(options.momentum)) {
    return k + (keeps_committed ? 2 : 0);
  }
  if (std::holds_alternative<SeparateMomentumOptions>(options.momentum)) {
    return 2 * (m + k) + directions;
  }
  return m + k + copies + directions;
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
  const size_t most = (std::numeric_limits<size_t>::max() / 2 /
                           VectorsHeld(options, true, true) -
                       kVectorAlignment) /
                      SizeOf(options.dtype);
  if (options.num_parameters < 1 || options.num_parameters > most) {
    return InvalidField("INVALID_OPTION", "num_parameters",
                        absl::StrCat(options.num_parameters),
                        absl::StrCat("1 … ", most));
  }
  absl::Status status = std::visit(Validator(), options.momentum);
  if (!status.ok()) return status;
  const absl::StatusOr<std::unique_ptr<Combiner>> combiner =
      MakeCombiner(options.combiner, options.num_vectors);
  if (!combiner.ok()) return combiner.status();
  if (options.sharded && (*combiner)->works_on_columns()) {
    return InvalidField("INVALID_OPTION", "combiner", (*combiner)->name(),
                        "with sharded parameters, a method that a Gram matrix "
                        "is enough for: this one works element by element");
  }
  if (options.loss_recorder.has_value()) {
    return MakeLossRecorder(*options.loss_recorder, options.num_vectors)
        .status();
  }
  if ((*combiner)->needs_losses()) {
    return InvalidField("INVALID_OPTION", "loss_recorder", "none",
                        "a recorder: the combiner's weights follow the losses");
  }
  return absl::OkStatus();
}

size_t MomentumOperator::MemoryBytes(const OperatorOptions& options,
                                     bool keeps_committed) {
  const absl::StatusOr<std::unique_ptr<Combiner>> combiner =
      MakeCombiner(options.combiner, options.num_vectors);
  const bool columns = combiner.ok() && (*combiner)->works_on_columns();
  return VectorsHeld(options, columns, keeps_committed) * VectorStride(options);
}

size_t MomentumOperator::SourceVectors(const OperatorOptions& options,
                                       bool keeps_committed) {
  // The gradients of an operator without momentum are no part of its state.
  const bool none = std::holds_alternative<NoMomentumOptions>(options.momentum);
  return MemoryBytes(options, keeps_committed) / VectorStride(options) -
         (none ? MaxVectorsPerStep(options) : 0);
}

absl::Status MomentumOperator::Import(const OperatorState& state) {
  std::vector<absl::Span<const std::byte>> vectors(state.momenta.begin(),
                                                   state.momenta.end());
  vectors.insert(vectors.end(), state.others.begin(), state.others.end());
  return Import(state, vectors);
}

absl::StatusOr<std::unique_ptr<MomentumOperator>> MomentumOperator::Create(
    const OperatorOptions& options, std::shared_ptr<Kernels> kernels,
    OperatorStorage storage) {
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
  const auto make =
      std::holds_alternative<NoMomentumOptions>(options.momentum)
          ? MakeNoMomentum
      : std::holds_alternative<SeparateMomentumOptions>(options.momentum)
          ? MakeSeparateMomentum
          : MakePseudoMomentum;
  return make(options, {std::move(kernels), *std::move(combiner),
                        std::move(recorder), std::move(storage)});
}

std::vector<std::string> MomentumOperatorNames() {
  return {kPseudoMomentumName, kSeparateMomentumName, kNoMomentumName};
}

}  // namespace concord
