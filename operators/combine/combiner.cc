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
};
// clang-format on

}  // namespace

absl::StatusOr<std::unique_ptr<Combiner>> MakeCombiner(
    const CombinerOptions& options, int num_vectors) {
  return std::visit(Maker{num_vectors}, options);
}

std::vector<std::string> CombinerNames() {
  return {std::begin(kNames), std::end(kNames)};
}

}  // namespace concord
