#include "proto/options/combiner_options.h"

#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "operators/errors.h"

namespace concord {
namespace {

ConFIGOptions With(const WeightOptions& weight) { return {weight, {}}; }
ConFIGOptions With(const LengthOptions& length) { return {{}, length}; }

// One of each kind, no field at its default.
std::vector<CombinerOptions> UnusualOptions() {
  ConFIGOptions config;
  config.weight = GivenWeightOptions{{1, 2.5, 3}};
  PCGradOptions explicit_order;
  explicit_order.order = ExplicitOrder{{2, 0, 1}};
  PCGradOptions random_order;
  random_order.order = SeededOrder{uint64_t{1} << 63};
  GradVacOptions gradvac;
  gradvac.beta = 0;
  gradvac.order = SeededOrder{7};
  CRMOGMOptions smoothed;
  smoothed.combiner = std::make_shared<const WrappedCombiner>(
      WrappedCombiner{CAGradOptions{0.25}});
  smoothed.alpha = 0;
  smoothed.initial_weights = {1, -1};
  return {config,
          MeanOptions{},
          SumOptions{},
          ConstantOptions{{0.25, 4}},
          RandomOptions{~uint64_t{0}},
          explicit_order,
          random_order,
          gradvac,
          IMTLGOptions{},
          MGDAOptions{},
          UPGradOptions{{1, 2}, 1e-4},
          DualProjOptions{{3, 4}, 1e-3},
          CAGradOptions{0},
          NashMTLOptions{0, 20},
          FairGradOptions{0},
          AlignedMTLOptions{{1, 2}, AlignedScale::kMedian},
          AlignedMTLOptions{{}, AlignedScale::kRootMeanSquare},
          KrumOptions{1, 0, true},
          smoothed,
          GradDropOptions{3, {0, 0.5}},
          TrimmedMeanOptions{2},
          DBMTLOptions{},
          With(RandomWeightOptions{~uint64_t{0}}),
          With(DynamicWeightAverageOptions{3}),
          With(TrackMinimumOptions{}),
          With(TrackMaximumOptions{}),
          With(TrackHarmonicAverageOptions{}),
          With(TrackArithmeticAverageOptions{}),
          With(TrackGeometricAverageOptions{}),
          With(TrackSpecificOptions{2})};
}

TEST(CombinerOptions, EveryMethodComesBackAsItWent) {
  std::set<size_t> kinds;
  for (const CombinerOptions& options : UnusualOptions()) {
    kinds.insert(options.index());
    const v1::CombinerOptions message = ToMessage(options);
    const absl::StatusOr<CombinerOptions> back = FromMessage(message);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_TRUE(*back == options) << message.DebugString();
  }
  EXPECT_EQ(kinds.size(), std::variant_size_v<CombinerOptions>);
}

TEST(CombinerOptions, AbsentFieldsAreTheEnginesDefaults) {
  const google::protobuf::OneofDescriptor* methods =
      v1::CombinerOptions::descriptor()->FindOneofByName("method");
  std::set<size_t> kinds;
  for (int i = 0; i < methods->field_count(); ++i) {
    v1::CombinerOptions message;
    message.GetReflection()->MutableMessage(&message, methods->field(i));
    const absl::StatusOr<CombinerOptions> options = FromMessage(message);
    ASSERT_TRUE(options.ok()) << options.status();
    kinds.insert(options->index());
    std::visit(
        [&](const auto& found) {
          EXPECT_TRUE(found == std::decay_t<decltype(found)>())
              << methods->field(i)->name();
        },
        *options);
    EXPECT_EQ(ToMessage(*options).method_case(), message.method_case());
  }
  EXPECT_EQ(kinds.size(), std::variant_size_v<CombinerOptions>);
  EXPECT_TRUE(*FromMessage({}) == CombinerOptions(ConFIGOptions()));
}

TEST(CombinerOptions, AScaleThatIsNoneIsRefused) {
  v1::CombinerOptions message;
  message.mutable_aligned_mtl()->set_scale(
      static_cast<v1::AlignedMTLOptions::Scale>(9));
  const absl::Status status = FromMessage(message).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetErrorDetail(status)->field, "combiner.aligned_mtl.scale");
  EXPECT_EQ(GetErrorDetail(status)->value, "9");
}

}  // namespace
}  // namespace concord
