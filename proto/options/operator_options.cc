#include "proto/options/operator_options.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/status/statusor.h"
#include "proto/options/combiner_options.h"

namespace concord {
namespace {

// PseudoMomentumOptions and SeparateMomentumOptions have the same fields, in
// the contract and in the engine.
template <class Options, class Message>
Options FromMomentum(const Message& message) {
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  Options options;
  if (message.has_beta_1()) options.beta_1 = message.beta_1();
  if (message.has_beta_2()) options.beta_2 = message.beta_2();
  options.participation.stale_after =
      static_cast<int64_t>(std::min(message.stale_after(), kMost));
  options.participation.min_relative_norm = message.min_relative_norm();
  return options;
}

template <class Options, class Message>
void FillMomentum(const Options& options, Message* message) {
  message->set_beta_1(options.beta_1);
  message->set_beta_2(options.beta_2);
  message->set_stale_after(options.participation.stale_after);
  message->set_min_relative_norm(options.participation.min_relative_norm);
}

MomentumOptions From(const v1::MomentumOptions& message) {
  switch (message.method_case()) {
    case v1::MomentumOptions::kNone:
      return NoMomentumOptions{};
    case v1::MomentumOptions::kSeparate:
      return FromMomentum<SeparateMomentumOptions>(message.separate());
    case v1::MomentumOptions::kPseudo:
    case v1::MomentumOptions::METHOD_NOT_SET:
      break;
  }
  return FromMomentum<PseudoMomentumOptions>(message.pseudo());
}

std::optional<LossRecorderOptions> From(
    const v1::LossRecorderOptions& message) {
  switch (message.method_case()) {
    case v1::LossRecorderOptions::kLatest:
      return LatestLossRecorderOptions{};
    case v1::LossRecorderOptions::kMomentum:
      return MomentumLossRecorderOptions{{message.momentum().betas().begin(),
                                          message.momentum().betas().end()}};
    case v1::LossRecorderOptions::METHOD_NOT_SET:
      break;
  }
  return std::nullopt;
}

}  // namespace

absl::Status ReadMethods(const v1::OperatorOptions& message,
                         OperatorOptions* options) {
  absl::StatusOr<CombinerOptions> combiner = FromMessage(message.combiner());
  if (!combiner.ok()) return combiner.status();
  options->combiner = *std::move(combiner);
  options->momentum = From(message.momentum());
  options->loss_recorder = From(message.loss_recorder());
  return absl::OkStatus();
}

v1::OperatorOptions ToMessage(const OperatorOptions& options) {
  v1::OperatorOptions message;
  *message.mutable_combiner() = ToMessage(options.combiner);
  v1::MomentumOptions* momentum = message.mutable_momentum();
  if (const auto* pseudo =
          std::get_if<PseudoMomentumOptions>(&options.momentum)) {
    FillMomentum(*pseudo, momentum->mutable_pseudo());
  } else if (const auto* separate =
                 std::get_if<SeparateMomentumOptions>(&options.momentum)) {
    FillMomentum(*separate, momentum->mutable_separate());
  } else {
    momentum->mutable_none();
  }
  if (!options.loss_recorder.has_value()) return message;
  v1::LossRecorderOptions* recorder = message.mutable_loss_recorder();
  if (const auto* average =
          std::get_if<MomentumLossRecorderOptions>(&*options.loss_recorder)) {
    recorder->mutable_momentum()->mutable_betas()->Assign(
        average->betas.begin(), average->betas.end());
  } else {
    recorder->mutable_latest();
  }
  return message;
}

}  // namespace concord
