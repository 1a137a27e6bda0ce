#include "operators/catalogue.h"

#include "operators/combine/combiner_options.h"
#include "operators/losses/latest_loss_recorder.h"
#include "operators/losses/momentum_loss_recorder.h"
#include "operators/momentum/no_momentum.h"
#include "operators/momentum/pseudo_momentum.h"
#include "operators/momentum/separate_momentum.h"

namespace concord {
namespace {

// Not constexpr: under its sanitizers g++ 12 takes the address of a name for no
// constant.
const MethodFacts kMethods[] = {
    {.name = kConFIGName,
     .family = "equal angles",
     .conflict_free = "yes",
     .scale_invariant = "yes",
     .state = "random or dynamic weights: theirs",
     .formula = "c_i = s a_i / (n_i |a|_C), a = C⁺w, s = Σ n_i (C a)_i / |a|_C",
     .paper = "Liu, Chu, Thuerey, ICLR 2025"},
    {.name = kMeanName,
     .family = "weightings",
     .conflict_free = "no",
     .scale_invariant = "no",
     .formula = "c_i = 1/m"},
    {.name = kSumName,
     .family = "weightings",
     .conflict_free = "no",
     .scale_invariant = "no",
     .formula = "c_i = 1"},
    {.name = kConstantName,
     .family = "weightings",
     .conflict_free = "no",
     .scale_invariant = "no",
     .formula = "c_i = w_i, given"},
    {.name = kRandomName,
     .family = "weightings",
     .conflict_free = "no",
     .scale_invariant = "no",
     .state = "step",
     .formula = "c = softmax of normal numbers by seed, step and index",
     .paper = "Lin, Ye, Zhang, Tsang, TMLR 2022"},
    {.name = kPCGradName,
     .family = "projections",
     .conflict_free = "two vectors",
     .scale_invariant = "no",
     .state = "seeded order: step",
     .formula =
         "from e_i, for j in order: w_j −= min(0, (K w)_j) / K_jj; their sum",
     .paper = "Yu et al., NeurIPS 2020"},
    {.name = kGradVacName,
     .family = "projections",
     .conflict_free = "no",
     .scale_invariant = "no",
     .state = "step, averages",
     .formula = "as PCGrad, to the moving average of the pair's cosine",
     .paper = "Wang, Tsvetkov, Firat, Cao, ICLR 2021"},
    {.name = kIMTLGName,
     .family = "equal angles",
     .conflict_free = "where Σ v > 0",
     .scale_invariant = "yes",
     .formula = "c = v / Σ v, v = K⁺n",
     .paper = "Liu et al., ICLR 2021"},
    {.name = kMGDAName,
     .family = "shortest vector",
     .conflict_free = "yes",
     .scale_invariant = "no",
     .formula = "c = argmin c'Kc, c ≥ 0, Σ c = 1",
     .paper = "Désidéri, 2012"},
    {.name = kUPGradName,
     .family = "dual cone",
     .conflict_free = "reg_eps = 0",
     .scale_invariant = "no",
     .formula = "c = Σ_i argmin x'Kx, x ≥ p_i e_i",
     .paper = "Quinton, Rey, 2024"},
    {.name = kDualProjName,
     .family = "dual cone",
     .conflict_free = "reg_eps = 0",
     .scale_invariant = "no",
     .formula = "c = argmin x'Kx, x ≥ p",
     .paper = "Lopez-Paz, Ranzato, NeurIPS 2017"},
    {.name = kCAGradName,
     .family = "trust region",
     .conflict_free = "c ≥ 1",
     .scale_invariant = "no",
     .formula = "d = argmax min_i ⟨v_i, d⟩ in the ball of radius c |g₀| about "
                "the mean g₀",
     .paper = "Liu, Liu, Jin, Stone, Liu, NeurIPS 2021"},
    {.name = kNashMTLName,
     .family = "fairness",
     .conflict_free = "yes",
     .scale_invariant = "yes",
     .state = "update_every > 1: step, c",
     .formula = "K c = 1/c, c > 0; shortened to max_norm",
     .paper = "Navon et al., ICML 2022"},
    {.name = kFairGradName,
     .family = "fairness",
     .conflict_free = "α > 0",
     .scale_invariant = "α = 1",
     .formula = "K c = c^(−1/α), c > 0",
     .paper = "Ban, Ji, ICML 2024"},
    {.name = kAlignedMTLName,
     .family = "alignment",
     .conflict_free = "no",
     .scale_invariant = "no",
     .formula = "c = σ U Λ^(−1/2) U'p, K = U Λ U'",
     .paper = "Senushkin, Patakin, Kuznetsov, Konushin, CVPR 2023"},
    {.name = kKrumName,
     .family = "robust",
     .conflict_free = "no",
     .scale_invariant = "no",
     .formula = "mean of the vectors closest to their nearest others",
     .paper = "Blanchard, El Mhamdi, Guerraoui, Stainer, NeurIPS 2017"},
    {.name = kCRMOGMName,
     .family = "smoothing",
     .conflict_free = "α = 0, as the method",
     .scale_invariant = "α = 0, as the method",
     .state = "coefficients, the method's",
     .formula = "c ← α c + (1 − α) c of the wrapped method",
     .paper = "Zhou et al., NeurIPS 2022"},
    {.name = kGradDropName,
     .family = "signs",
     .kind = MethodKind::kColumns,
     .conflict_free = "no",
     .scale_invariant = "no",
     .state = "step",
     .formula =
         "per parameter: Σ of the values of one sign, + with probability "
         "(1 + Σ x_i / Σ |x_i|) / 2",
     .paper = "Chen et al., NeurIPS 2020"},
    {.name = kTrimmedMeanName,
     .family = "robust",
     .kind = MethodKind::kColumns,
     .conflict_free = "no",
     .scale_invariant = "no",
     .formula = "per parameter: mean without the trim_number largest and "
                "smallest values",
     .paper = "Yin et al., ICML 2018"},
    {.name = kDBMTLName,
     .family = "equal lengths",
     .conflict_free = "two vectors",
     .scale_invariant = "yes",
     .formula = "c_i = max_j n_j / n_i",
     .paper = "Lin et al., 2023"},
};

const PartFacts kMomenta[] = {
    {kPseudoMomentumName,
     "a momentum per loss; one second momentum, of the combined direction's "
     "pseudo gradient (M-ConFIG)"},
    {kSeparateMomentumName,
     "both momenta per loss; what is combined are the rescaled momenta"},
    {kNoMomentumName, "each step combines the gradients that it brings"},
};

const PartFacts kWeights[] = {
    {"EqualWeight", "w_i = 1"},
    {"GivenWeight", "w_i given, > 0; only their ratios matter"},
    {"RandomWeight", "w = softmax of normal numbers by seed, step and index"},
    {"DynamicWeightAverage",
     "w_i = m exp(r_i / T) / Σ exp(r_j / T), r_i = L_i(t−1) / L_i(t−2) of the "
     "recorded losses L"},
};

const PartFacts kLengths[] = {
    {"ProjectionLength", "|d| = Σ n_i cos(v_i, d)"},
    {"TrackMinimum", "|d| = Σ t cos(v_i, d), t = min n_i"},
    {"TrackMaximum", "|d| = Σ t cos(v_i, d), t = max n_i"},
    {"TrackHarmonicAverage", "|d| = Σ t cos(v_i, d), t = m / Σ 1/n_i"},
    {"TrackArithmeticAverage", "|d| = Σ t cos(v_i, d), t = Σ n_i / m"},
    {"TrackGeometricAverage", "|d| = Σ t cos(v_i, d), t = (Π n_i)^(1/m)"},
    {"TrackSpecific", "|d| = Σ t cos(v_i, d), t = n_k of a given k"},
};

const PartFacts kLossRecorders[] = {
    {kLatestLossRecorderName, "the latest value of every loss, at first 0"},
    {kMomentumLossRecorderName,
     "a moving average of every loss, corrected for its start at 0"},
};

}  // namespace

absl::string_view MethodKindName(MethodKind kind) {
  return kind == MethodKind::kLinear ? "linear" : "columns";
}

absl::Span<const MethodFacts> MethodCatalogue() { return kMethods; }

const MethodFacts* FindMethod(absl::string_view name) {
  for (const MethodFacts& facts : kMethods) {
    if (facts.name == name) return &facts;
  }
  return nullptr;
}

absl::Span<const PartFacts> MomentumCatalogue() { return kMomenta; }
absl::Span<const PartFacts> WeightCatalogue() { return kWeights; }
absl::Span<const PartFacts> LengthCatalogue() { return kLengths; }
absl::Span<const PartFacts> LossRecorderCatalogue() { return kLossRecorders; }

const PartFacts* FindPart(absl::Span<const PartFacts> parts,
                          absl::string_view name) {
  for (const PartFacts& facts : parts) {
    if (facts.name == name) return &facts;
  }
  return nullptr;
}

}  // namespace concord
