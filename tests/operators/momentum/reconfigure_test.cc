// Options that change between steps.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/momentum/operator_under_test.h"
#include "tests/operators/random_vectors.h"

namespace concord {
namespace {

constexpr size_t kCount = 5000;

std::vector<double> Gradient(unsigned seed) {
  return SeededVector<double>(kCount, seed);
}

// M-ConFIG of one loss with betas that change: the direction of one momentum is
// that momentum, so that everything is plain numbers.
struct OneLoss {
  double m = 0, f = 0, s = 0;
  int t = 0;
  double Step(double g, double beta_1, double beta_2) {
    ++t;
    m = beta_1 * m + (1 - beta_1) * g;
    const double r = m / (1 - std::pow(beta_1, t));
    const double next = r * (1 - std::pow(beta_1, t));
    const double pseudo = (next - beta_1 * f) / (1 - beta_1);
    f = next;
    s = beta_2 * s + (1 - beta_2) * pseudo * pseudo;
    return r / (std::sqrt(s / (1 - std::pow(beta_2, t))) + 1e-8);
  }
};

TEST(Reconfigure, ANewBetaHoldsForTheWholeBiasCorrection) {
  OperatorOptions options = Options<double>(1, kCount);
  auto op = Make(options);
  std::vector<OneLoss> plain(kCount);
  for (int step = 0; step < 9; ++step) {
    const double beta_1 = step < 4 ? 0.9 : 0.5;
    const double beta_2 = step < 6 ? 0.999 : 0.9;
    options.momentum = PseudoMomentumOptions{beta_1, beta_2};
    ASSERT_TRUE(op->Reconfigure(options).ok());
    const auto gradient = Gradient(step + 1);
    const auto update = Step<double>(op.get(), {0}, {gradient});
    for (size_t e = 0; e < kCount; ++e) {
      const double expected = plain[e].Step(gradient[e], beta_1, beta_2);
      ASSERT_NEAR(update[e], expected, 1e-9 * std::max(1.0, std::abs(expected)))
          << "step " << step << ", element " << e;
    }
  }
}

TEST(Reconfigure, ACommittedUpdateStaysTheSameBits) {
  for (const MomentumOptions& changed :
       {MomentumOptions(PseudoMomentumOptions{0.2, 0.3}),
        MomentumOptions(SeparateMomentumOptions{0.2, 0.3})}) {
    OperatorOptions options = Options<double>(2, kCount);
    if (std::holds_alternative<SeparateMomentumOptions>(changed)) {
      options.momentum = SeparateMomentumOptions{};
    }
    auto op = Make(options);
    Step<double>(op.get(), {0, 1}, {Gradient(1), Gradient(2)});
    const auto update = Step<double>(op.get(), {1}, {Gradient(3)});
    options.momentum = changed;
    options.combiner = MeanOptions{};
    ASSERT_TRUE(op->Reconfigure(options).ok());
    std::vector<double> again(kCount);
    ASSERT_TRUE(op->Recompute(again.data()).ok());
    EXPECT_TRUE(SameBits(update, again));
  }
}

TEST(Reconfigure, AnotherCombinerBeginsAnewAndTheSameOneGoesOn) {
  OperatorOptions options = Options<double>(2, kCount);
  options.combiner = RandomOptions{5};
  auto op = Make(options);
  Step<double>(op.get(), {0, 1}, {Gradient(1), Gradient(2)});
  EXPECT_EQ(op->Export()->combiner, std::vector<double>{1});
  options.combiner = RandomOptions{6};
  ASSERT_TRUE(op->Reconfigure(options).ok());
  EXPECT_EQ(op->Export()->combiner, std::vector<double>{1});
  options.combiner = MeanOptions{};
  ASSERT_TRUE(op->Reconfigure(options).ok());
  EXPECT_TRUE(op->Export()->combiner.empty());
}

TEST(Reconfigure, WhatIsFixedIsRefusedAndTheNextStepIsAsIfNothingHadBeen) {
  const OperatorOptions options = Options<double>(2, kCount);
  auto op = Make(options), twin = Make(options);
  const auto a = Gradient(1), b = Gradient(2);
  Step<double>(op.get(), {0, 1}, {a, b});
  Step<double>(twin.get(), {0, 1}, {a, b});
  const auto refused = [&](auto change) {
    OperatorOptions other = options;
    change(&other);
    const absl::Status status = op->Reconfigure(other);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    const auto detail = GetErrorDetail(status);
    return detail.has_value() ? detail->reason + " " + detail->field : "";
  };
  EXPECT_EQ(refused([](OperatorOptions* o) { o->num_vectors = 3; }),
            "IMMUTABLE_OPTION num_vectors");
  EXPECT_EQ(refused([](OperatorOptions* o) { o->num_parameters = 3; }),
            "IMMUTABLE_OPTION num_parameters");
  EXPECT_EQ(refused([](OperatorOptions* o) { o->dtype = Dtype::kFloat32; }),
            "IMMUTABLE_OPTION data_type");
  EXPECT_EQ(refused([](OperatorOptions* o) {
              o->momentum = SeparateMomentumOptions{};
            }),
            "IMMUTABLE_OPTION momentum");
  EXPECT_EQ(refused([](OperatorOptions* o) {
              o->loss_recorder = LatestLossRecorderOptions{};
            }),
            "IMMUTABLE_OPTION loss_recorder");
  EXPECT_EQ(
      refused([](OperatorOptions* o) { o->combiner = GradDropOptions{}; }),
      "IMMUTABLE_OPTION combiner");
  EXPECT_EQ(refused([](OperatorOptions* o) {
              o->momentum = PseudoMomentumOptions{1, 0.999};
            }),
            "INVALID_OPTION beta_1");
  EXPECT_EQ(
      refused([](OperatorOptions* o) { o->combiner = CAGradOptions{-1}; }),
      "INVALID_OPTION combiner.cagrad.c");
  EXPECT_TRUE(SameBits(Step<double>(op.get(), {1}, {a}),
                       Step<double>(twin.get(), {1}, {a})));
}

TEST(Reconfigure, NotWhileRowsAreStaged) {
  const OperatorOptions options = Options<double>(1, kCount);
  auto op = Make(options);
  auto* row = *op->Stage(0);
  EXPECT_EQ(op->Reconfigure(options).code(),
            absl::StatusCode::kFailedPrecondition);
  op->Drop(row);
  EXPECT_TRUE(op->Reconfigure(options).ok());
}

TEST(Reconfigure, ARecordersBetasChangeAndItsValuesStay) {
  OperatorOptions options = Options<double>(1, kCount);
  options.loss_recorder = MomentumLossRecorderOptions{{0.5}};
  auto op = Make(options);
  const auto gradient = Gradient(1);
  ASSERT_TRUE(op->Ingest({0}, {gradient.data()}).ok());
  ASSERT_TRUE(op->Solve({0}, {8}).ok());
  std::vector<double> update(kCount);
  ASSERT_TRUE(op->Commit(update.data(), false, [](size_t) {}).ok());
  options.loss_recorder = MomentumLossRecorderOptions{{0.25}};
  ASSERT_TRUE(op->Reconfigure(options).ok());
  // An average of 4 after one value, read with the new beta.
  EXPECT_DOUBLE_EQ(op->recorder()->losses()[0], 4 / 0.75);
}

}  // namespace
}  // namespace concord
