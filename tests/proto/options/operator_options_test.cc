#include "proto/options/operator_options.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace concord {
namespace {

TEST(OperatorOptions, EveryMomentumAndRecorderComesBackAsItWent) {
  const std::vector<MomentumOptions> momenta = {
      PseudoMomentumOptions{0.1, 0.2, {3, 0.4}},
      SeparateMomentumOptions{0.5, 0.6, {7, 0.8}}, NoMomentumOptions{}};
  const std::vector<std::optional<LossRecorderOptions>> recorders = {
      std::nullopt, LatestLossRecorderOptions{},
      MomentumLossRecorderOptions{{0.1, 0.9}}};
  for (const MomentumOptions& momentum : momenta) {
    for (const auto& recorder : recorders) {
      OperatorOptions options;
      options.num_vectors = 2;
      options.momentum = momentum;
      options.loss_recorder = recorder;
      options.combiner = CAGradOptions{0.125};
      const v1::OperatorOptions message = ToMessage(options);
      OperatorOptions back;
      back.num_vectors = 2;
      ASSERT_TRUE(ReadMethods(message, &back).ok());
      EXPECT_TRUE(back == options) << message.DebugString();
    }
  }
}

TEST(OperatorOptions, AnEmptyMessageMeansTheDefaults) {
  OperatorOptions options;
  ASSERT_TRUE(ReadMethods({}, &options).ok());
  const OperatorOptions defaults;
  EXPECT_TRUE(options == defaults);
  v1::OperatorOptions separate;
  separate.mutable_momentum()->mutable_separate();
  ASSERT_TRUE(ReadMethods(separate, &options).ok());
  EXPECT_TRUE(std::get<SeparateMomentumOptions>(options.momentum) ==
              SeparateMomentumOptions());
}

TEST(OperatorOptions, AnUnreadableMessageLeavesThemAlone) {
  v1::OperatorOptions message;
  message.mutable_momentum()->mutable_none();
  message.mutable_combiner()->mutable_aligned_mtl()->set_scale(
      static_cast<v1::AlignedMTLOptions::Scale>(9));
  OperatorOptions options;
  EXPECT_FALSE(ReadMethods(message, &options).ok());
  const OperatorOptions defaults;
  EXPECT_TRUE(options == defaults);
}

}  // namespace
}  // namespace concord
