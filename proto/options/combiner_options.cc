#include "proto/options/combiner_options.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/protobuf/repeated_field.h"
#include "operators/errors.h"

namespace concord {
namespace {

using google::protobuf::RepeatedField;

std::vector<double> Numbers(const RepeatedField<double>& from) {
  return {from.begin(), from.end()};
}

void Set(const std::vector<double>& from, RepeatedField<double>* to) {
  to->Assign(from.begin(), from.end());
}

// Counts of the engine are ints; what does not fit is out of range there, too.
int Count(uint32_t from) {
  constexpr uint32_t kMost = std::numeric_limits<int>::max();
  return static_cast<int>(std::min(from, kMost));
}

VisitingOrder From(const v1::VisitingOrder& message) {
  if (message.has_explicit_()) {
    ExplicitOrder order;
    for (const uint32_t index : message.explicit_().indexes()) {
      order.indexes.push_back(Count(index));
    }
    return order;
  }
  if (message.has_seeded()) return SeededOrder{message.seeded().seed()};
  return AscendingOrder{};
}

void Fill(const VisitingOrder& order, v1::VisitingOrder* message) {
  if (const auto* given = std::get_if<ExplicitOrder>(&order)) {
    message->mutable_explicit_()->mutable_indexes()->Assign(
        given->indexes.begin(), given->indexes.end());
  } else if (const auto* seeded = std::get_if<SeededOrder>(&order)) {
    message->mutable_seeded()->set_seed(seeded->seed);
  } else {
    message->mutable_ascending();
  }
}

absl::StatusOr<CombinerOptions> From(const v1::AlignedMTLOptions& message) {
  AlignedMTLOptions options;
  options.preference = Numbers(message.preference());
  switch (message.scale()) {
    case v1::AlignedMTLOptions::SCALE_UNSPECIFIED:
    case v1::AlignedMTLOptions::MINIMUM:
      return options;
    case v1::AlignedMTLOptions::MEDIAN:
      options.scale = AlignedScale::kMedian;
      return options;
    case v1::AlignedMTLOptions::RMSE:
      options.scale = AlignedScale::kRootMeanSquare;
      return options;
    default:
      return InvalidField("INVALID_OPTION", "combiner.aligned_mtl.scale",
                          absl::StrCat(static_cast<int>(message.scale())),
                          "MINIMUM, MEDIAN or RMSE");
  }
}

v1::AlignedMTLOptions::Scale To(AlignedScale scale) {
  if (scale == AlignedScale::kMedian) return v1::AlignedMTLOptions::MEDIAN;
  if (scale == AlignedScale::kRootMeanSquare) {
    return v1::AlignedMTLOptions::RMSE;
  }
  return v1::AlignedMTLOptions::MINIMUM;
}

WeightOptions From(const v1::WeightOptions& message) {
  switch (message.method_case()) {
    case v1::WeightOptions::kGiven:
      return GivenWeightOptions{Numbers(message.given().weights())};
    case v1::WeightOptions::kRandom:
      return RandomWeightOptions{message.random().seed()};
    case v1::WeightOptions::kDynamicAverage: {
      DynamicWeightAverageOptions options;
      if (message.dynamic_average().has_temperature()) {
        options.temperature = message.dynamic_average().temperature();
      }
      return options;
    }
    case v1::WeightOptions::kEqual:
    case v1::WeightOptions::METHOD_NOT_SET:
      break;
  }
  return EqualWeightOptions{};
}

LengthOptions From(const v1::LengthOptions& message) {
  switch (message.method_case()) {
    case v1::LengthOptions::kTrackMinimum:
      return TrackMinimumOptions{};
    case v1::LengthOptions::kTrackMaximum:
      return TrackMaximumOptions{};
    case v1::LengthOptions::kTrackHarmonicAverage:
      return TrackHarmonicAverageOptions{};
    case v1::LengthOptions::kTrackArithmeticAverage:
      return TrackArithmeticAverageOptions{};
    case v1::LengthOptions::kTrackGeometricAverage:
      return TrackGeometricAverageOptions{};
    case v1::LengthOptions::kTrackSpecific:
      return TrackSpecificOptions{Count(message.track_specific().index())};
    case v1::LengthOptions::kProjection:
    case v1::LengthOptions::METHOD_NOT_SET:
      break;
  }
  return ProjectionLengthOptions{};
}

struct WeightFiller {
  v1::WeightOptions* message;

  void operator()(const EqualWeightOptions&) const { message->mutable_equal(); }
  void operator()(const GivenWeightOptions& options) const {
    Set(options.weights, message->mutable_given()->mutable_weights());
  }
  void operator()(const RandomWeightOptions& options) const {
    message->mutable_random()->set_seed(options.seed);
  }
  void operator()(const DynamicWeightAverageOptions& options) const {
    message->mutable_dynamic_average()->set_temperature(options.temperature);
  }
};

struct LengthFiller {
  v1::LengthOptions* message;

  void operator()(const ProjectionLengthOptions&) const {
    message->mutable_projection();
  }
  void operator()(const TrackMinimumOptions&) const {
    message->mutable_track_minimum();
  }
  void operator()(const TrackMaximumOptions&) const {
    message->mutable_track_maximum();
  }
  void operator()(const TrackHarmonicAverageOptions&) const {
    message->mutable_track_harmonic_average();
  }
  void operator()(const TrackArithmeticAverageOptions&) const {
    message->mutable_track_arithmetic_average();
  }
  void operator()(const TrackGeometricAverageOptions&) const {
    message->mutable_track_geometric_average();
  }
  void operator()(const TrackSpecificOptions& options) const {
    message->mutable_track_specific()->set_index(options.index);
  }
};

ConFIGOptions From(const v1::ConFIGOptions& message) {
  return {From(message.weight()), From(message.length())};
}

absl::StatusOr<CombinerOptions> From(const v1::CRMOGMOptions& message) {
  CRMOGMOptions options;
  if (message.has_combiner()) {
    absl::StatusOr<CombinerOptions> wrapped = FromMessage(message.combiner());
    if (!wrapped.ok()) return wrapped.status();
    options.combiner = std::make_shared<const WrappedCombiner>(
        WrappedCombiner{*std::move(wrapped)});
  }
  if (message.has_alpha()) options.alpha = message.alpha();
  options.initial_weights = Numbers(message.initial_weights());
  return options;
}

PCGradOptions From(const v1::PCGradOptions& message) {
  return {.order = From(message.order())};
}

GradVacOptions From(const v1::GradVacOptions& message) {
  GradVacOptions options;
  if (message.has_beta()) options.beta = message.beta();
  options.order = From(message.order());
  return options;
}

CAGradOptions From(const v1::CAGradOptions& message) {
  CAGradOptions options;
  if (message.has_c()) options.c = message.c();
  return options;
}

NashMTLOptions From(const v1::NashMTLOptions& message) {
  NashMTLOptions options;
  if (message.has_max_norm()) options.max_norm = message.max_norm();
  if (message.update_every() > 0) {
    options.update_every = Count(message.update_every());
  }
  return options;
}

FairGradOptions From(const v1::FairGradOptions& message) {
  FairGradOptions options;
  if (message.has_alpha()) options.alpha = message.alpha();
  return options;
}

KrumOptions From(const v1::KrumOptions& message) {
  KrumOptions options;
  options.n_byzantine = Count(message.n_byzantine());
  if (message.has_n_selected()) {
    options.n_selected = Count(message.n_selected());
  }
  options.squared = message.squared();
  return options;
}

// Overloads that write one method into the message.
struct Filler {
  v1::CombinerOptions* message;

  void operator()(const ConFIGOptions& options) const {
    v1::ConFIGOptions* config = message->mutable_config();
    std::visit(WeightFiller{config->mutable_weight()}, options.weight);
    std::visit(LengthFiller{config->mutable_length()}, options.length);
  }
  void operator()(const MeanOptions&) const { message->mutable_mean(); }
  void operator()(const SumOptions&) const { message->mutable_sum(); }
  void operator()(const ConstantOptions& options) const {
    Set(options.weights, message->mutable_constant()->mutable_weights());
  }
  void operator()(const RandomOptions& options) const {
    message->mutable_random()->set_seed(options.seed);
  }
  void operator()(const PCGradOptions& options) const {
    Fill(options.order, message->mutable_pcgrad()->mutable_order());
  }
  void operator()(const GradVacOptions& options) const {
    message->mutable_gradvac()->set_beta(options.beta);
    Fill(options.order, message->mutable_gradvac()->mutable_order());
  }
  void operator()(const IMTLGOptions&) const { message->mutable_imtlg(); }
  void operator()(const MGDAOptions&) const { message->mutable_mgda(); }
  void operator()(const UPGradOptions& options) const {
    Set(options.preference, message->mutable_upgrad()->mutable_preference());
    message->mutable_upgrad()->set_reg_eps(options.reg_eps);
  }
  void operator()(const DualProjOptions& options) const {
    Set(options.preference, message->mutable_dualproj()->mutable_preference());
    message->mutable_dualproj()->set_reg_eps(options.reg_eps);
  }
  void operator()(const CAGradOptions& options) const {
    message->mutable_cagrad()->set_c(options.c);
  }
  void operator()(const NashMTLOptions& options) const {
    message->mutable_nash_mtl()->set_max_norm(options.max_norm);
    message->mutable_nash_mtl()->set_update_every(options.update_every);
  }
  void operator()(const FairGradOptions& options) const {
    message->mutable_fairgrad()->set_alpha(options.alpha);
  }
  void operator()(const AlignedMTLOptions& options) const {
    v1::AlignedMTLOptions* aligned = message->mutable_aligned_mtl();
    Set(options.preference, aligned->mutable_preference());
    aligned->set_scale(To(options.scale));
  }
  void operator()(const KrumOptions& options) const {
    v1::KrumOptions* krum = message->mutable_krum();
    krum->set_n_byzantine(options.n_byzantine);
    krum->set_n_selected(options.n_selected);
    krum->set_squared(options.squared);
  }
  void operator()(const CRMOGMOptions& options) const {
    v1::CRMOGMOptions* smoothed = message->mutable_cr_mogm();
    *smoothed->mutable_combiner() =
        ToMessage(options.combiner == nullptr ? CombinerOptions()
                                              : options.combiner->options);
    smoothed->set_alpha(options.alpha);
    Set(options.initial_weights, smoothed->mutable_initial_weights());
  }
  void operator()(const GradDropOptions& options) const {
    message->mutable_graddrop()->set_seed(options.seed);
    Set(options.leak, message->mutable_graddrop()->mutable_leak());
  }
  void operator()(const TrimmedMeanOptions& options) const {
    message->mutable_trimmed_mean()->set_trim_number(options.trim_number);
  }
  void operator()(const DBMTLOptions&) const { message->mutable_db_mtl(); }
};

}  // namespace

absl::StatusOr<CombinerOptions> FromMessage(
    const v1::CombinerOptions& message) {
  using Method = v1::CombinerOptions;
  switch (message.method_case()) {
    case Method::kMean:
      return MeanOptions{};
    case Method::kSum:
      return SumOptions{};
    case Method::kConstant:
      return ConstantOptions{Numbers(message.constant().weights())};
    case Method::kRandom:
      return RandomOptions{message.random().seed()};
    case Method::kPcgrad:
      return From(message.pcgrad());
    case Method::kGradvac:
      return From(message.gradvac());
    case Method::kImtlg:
      return IMTLGOptions{};
    case Method::kMgda:
      return MGDAOptions{};
    case Method::kUpgrad:
      return UPGradOptions{Numbers(message.upgrad().preference()),
                           message.upgrad().reg_eps()};
    case Method::kDualproj:
      return DualProjOptions{Numbers(message.dualproj().preference()),
                             message.dualproj().reg_eps()};
    case Method::kCagrad:
      return From(message.cagrad());
    case Method::kNashMtl:
      return From(message.nash_mtl());
    case Method::kFairgrad:
      return From(message.fairgrad());
    case Method::kAlignedMtl:
      return From(message.aligned_mtl());
    case Method::kKrum:
      return From(message.krum());
    case Method::kCrMogm:
      return From(message.cr_mogm());
    case Method::kGraddrop:
      return GradDropOptions{message.graddrop().seed(),
                             Numbers(message.graddrop().leak())};
    case Method::kTrimmedMean:
      return TrimmedMeanOptions{Count(message.trimmed_mean().trim_number())};
    case Method::kDbMtl:
      return DBMTLOptions{};
    case Method::kConfig:
    case Method::METHOD_NOT_SET:
      break;
  }
  return From(message.config());
}

v1::CombinerOptions ToMessage(const CombinerOptions& options) {
  v1::CombinerOptions message;
  std::visit(Filler{&message}, options);
  return message;
}

}  // namespace concord
