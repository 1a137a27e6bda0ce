#include "operators/combine/combiner.h"

namespace concord {
namespace {

using Made = absl::StatusOr<std::unique_ptr<Combiner>>;

// The registry: the maker and the name of every method.
// clang-format off
struct Maker {
  int m;  // num_vectors
  Made operator()(const ConFIGOptions& options) { return MakeConFIG(options, m); }
  Made operator()(const MeanOptions& options) { return MakeMean(options, m); }
  Made operator()(const SumOptions& options) { return MakeSum(options, m); }
  Made operator()(const ConstantOptions& options) { return MakeConstant(options, m); }
  Made operator()(const RandomOptions& options) { return MakeRandom(options, m); }
  Made operator()(const PCGradOptions& options) { return MakePCGrad(options, m); }
  Made operator()(const GradVacOptions& options) { return MakeGradVac(options, m); }
  Made operator()(const IMTLGOptions& options) { return MakeIMTLG(options, m); }
  Made operator()(const MGDAOptions& options) { return MakeMGDA(options, m); }
  Made operator()(const UPGradOptions& options) { return MakeUPGrad(options, m); }
  Made operator()(const DualProjOptions& options) { return MakeDualProj(options, m); }
  Made operator()(const CAGradOptions& options) { return MakeCAGrad(options, m); }
  Made operator()(const NashMTLOptions& options) { return MakeNashMTL(options, m); }
  Made operator()(const FairGradOptions& options) { return MakeFairGrad(options, m); }
  Made operator()(const AlignedMTLOptions& options) { return MakeAlignedMTL(options, m); }
  Made operator()(const KrumOptions& options) { return MakeKrum(options, m); }
  Made operator()(const CRMOGMOptions& options) { return MakeCRMOGM(options, m); }
  Made operator()(const GradDropOptions& options) { return MakeGradDrop(options, m); }
  Made operator()(const TrimmedMeanOptions& options) { return MakeTrimmedMean(options, m); }
  Made operator()(const DBMTLOptions& options) { return MakeDBMTL(options, m); }
};

constexpr const char* kNames[] = {
    kConFIGName,
    kMeanName,
    kSumName,
    kConstantName,
    kRandomName,
    kPCGradName,
    kGradVacName,
    kIMTLGName,
    kMGDAName,
    kUPGradName,
    kDualProjName,
    kCAGradName,
    kNashMTLName,
    kFairGradName,
    kAlignedMTLName,
    kKrumName,
    kCRMOGMName,
    kGradDropName,
    kTrimmedMeanName,
    kDBMTLName,
};
// clang-format on

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeCombiner(
    const CombinerOptions& options, int num_vectors) {
  return std::visit(Maker{num_vectors}, options);
}

bool KeepsState(const CombinerOptions& from, const CombinerOptions& to) {
  if (from.index() != to.index()) return false;
  if (const auto* config = std::get_if<ConFIGOptions>(&from)) {
    return config->weight.index() == std::get<ConFIGOptions>(to).weight.index();
  }
  if (const auto* pcgrad = std::get_if<PCGradOptions>(&from)) {
    return pcgrad->order.index() == std::get<PCGradOptions>(to).order.index();
  }
  if (const auto* gradvac = std::get_if<GradVacOptions>(&from)) {
    return gradvac->order.index() == std::get<GradVacOptions>(to).order.index();
  }
  if (const auto* nash = std::get_if<NashMTLOptions>(&from)) {
    return (nash->update_every > 1) ==
           (std::get<NashMTLOptions>(to).update_every > 1);
  }
  if (const auto* smoothed = std::get_if<CRMOGMOptions>(&from)) {
    const auto& other = std::get<CRMOGMOptions>(to);
    if (smoothed->combiner == nullptr || other.combiner == nullptr) {
      return smoothed->combiner == other.combiner;
    }
    return KeepsState(smoothed->combiner->options, other.combiner->options);
  }
  return true;
}

std::vector<std::string> CombinerNames() {
  return {std::begin(kNames), std::end(kNames)};
}

}  // namespace concord
