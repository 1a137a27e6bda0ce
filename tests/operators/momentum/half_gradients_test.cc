// Gradients of 16 bits that an operator widens in the pass that reads them.
#include <cstdint>
#include <limits>
#include <optional>
#include <tuple>

#include "gtest/gtest.h"
#include "operators/errors.h"
#include "operators/kernels/half_types.h"
#include "tests/operators/momentum/operator_under_test.h"
#include "tests/operators/random_vectors.h"

namespace concord {
namespace {

constexpr int kLosses = 3;

struct Method {
  const char* name;
  MomentumOptions momentum;
};

class HalfGradientsTest
    : public ::testing::TestWithParam<std::tuple<Method, HalfType>> {
 protected:
  static OperatorOptions OptionsOf(size_t n) {
    OperatorOptions options = Options<float>(kLosses, n);
    options.momentum = std::get<Method>(GetParam()).momentum;
    return options;
  }
  static HalfType type() { return std::get<HalfType>(GetParam()); }

  // A gradient in 16 bits, and the same numbers in fp32.
  struct Gradient {
    std::vector<uint16_t> half;
    std::vector<float> wide;
  };
  Gradient Draw(size_t n) {
    Gradient gradient{std::vector<uint16_t>(n),
                      RandomVector<float>(n, &engine_)};
    Narrow(type(), gradient.wide.data(), n, gradient.half.data());
    Widen(type(), gradient.half.data(), n, gradient.wide.data());
    return gradient;
  }

  std::mt19937 engine_{20261};
};

TEST_P(HalfGradientsTest, GiveTheBitsOfTheWidenedOnes) {
  // Around the edges of blocks, and what several threads share.
  for (const size_t n :
       {size_t{1}, size_t{17}, size_t{4096}, size_t{4099}, size_t{300'007}}) {
    auto narrow = Make(OptionsOf(n), /*threads=*/3);
    auto wide = Make(OptionsOf(n));
    for (int step = 0; step < 5; ++step) {
      const Gradient a = Draw(n), b = Draw(n), c = Draw(n);
      const std::vector<int> indexes =
          step % 2 == 0 ? std::vector<int>{0, 1, 2} : std::vector<int>{2, 0};
      std::vector<const void*> halves, floats;
      for (size_t i = 0; i < indexes.size(); ++i) {
        const Gradient& gradient = i == 0 ? a : i == 1 ? b : c;
        halves.push_back(gradient.half.data());
        floats.push_back(gradient.wide.data());
      }
      ASSERT_TRUE(narrow->Ingest(indexes, halves, type()).ok());
      ASSERT_TRUE(wide->Ingest(indexes, floats).ok());
      ASSERT_TRUE(
          SameBits(Finish<float>(narrow.get()), Finish<float>(wide.get())))
          << "n = " << n << ", step " << step;
    }
  }
}

TEST_P(HalfGradientsTest, AnElementThatIsNotFiniteIsNamedAndChangesNothing) {
  const size_t n = 10'000, bad = 7'777;
  auto hurt = Make(OptionsOf(n));
  auto other = Make(OptionsOf(n));
  const Gradient first = Draw(n), second = Draw(n);
  const std::vector<const void*> both = {first.half.data(), second.half.data()};
  Gradient broken = Draw(n);
  broken.half[bad] = type() == HalfType::kBfloat16 ? 0x7f80 : 0x7c00;
  const absl::Status status =
      hurt->Ingest({0, 1}, {first.half.data(), broken.half.data()}, type());
  EXPECT_EQ(GetErrorReason(status), "NON_FINITE");
  EXPECT_NE(status.message().find("7777"), std::string::npos) << status;
  for (MomentumOperator* op : {hurt.get(), other.get()}) {
    ASSERT_TRUE(op->Ingest({0, 1}, both, type()).ok());
  }
  EXPECT_TRUE(SameBits(Finish<float>(hurt.get()), Finish<float>(other.get())));
}

TEST_P(HalfGradientsTest, AreRefusedByAnOperatorOfFloat64) {
  OperatorOptions options = OptionsOf(8);
  options.dtype = Dtype::kFloat64;
  auto op = Make(options);
  const std::vector<uint16_t> gradient(8);
  EXPECT_EQ(GetErrorReason(op->Ingest({0}, {gradient.data()}, type())),
            "DATA_TYPE_MISMATCH");
}

INSTANTIATE_TEST_SUITE_P(
    OfEveryOperator, HalfGradientsTest,
    ::testing::Combine(
        ::testing::Values(Method{"Pseudo", PseudoMomentumOptions()},
                          Method{"Separate", SeparateMomentumOptions()},
                          Method{"None", NoMomentumOptions()}),
        ::testing::Values(HalfType::kBfloat16, HalfType::kFloat16)),
    [](const auto& info) {
      return std::string(std::get<Method>(info.param).name) +
             (std::get<HalfType>(info.param) == HalfType::kBfloat16
                  ? "Bfloat16"
                  : "Float16");
    });

}  // namespace
}  // namespace concord
