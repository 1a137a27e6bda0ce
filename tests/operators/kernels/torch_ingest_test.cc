// Pass 1 of the torch kernels on LibTorch's CPU, against the built-in kernels
// and against plain loops in fp64.
#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/operators/kernels/torch_kernels_fixture.h"

namespace concord {
namespace {

template <class T>
class TorchIngest : public TorchKernelsTest<T> {};
TYPED_TEST_SUITE(TorchIngest, TorchTypes);

TYPED_TEST(TorchIngest, StagesTheMomentumAndItsDotsLikeTheCpuKernels) {
  using T = TypeParam;
  for (const size_t n : this->Sizes()) {
    SCOPED_TRACE(n);
    const std::vector<T> gradient = SeededVector<T>(n, 1);
    const std::vector<T> momentum = SeededVector<T>(n, 2);
    const std::vector<std::vector<T>> rows = {SeededVector<T>(n, 3, 1e-3),
                                              SeededVector<T>(n, 4, 1e3)};
    const std::vector<const void*> pointers = Pointers(rows);
    std::vector<T> staged(n), expected(n), plain(n);
    IngestPass pass;
    pass.count = n;
    pass.beta_1 = 0.9;
    pass.gradient = gradient.data();
    pass.momentum = momentum.data();
    pass.rows = pointers;
    pass.staged = expected.data();
    this->Ingest(*this->cpu_, pass);
    pass.staged = staged.data();
    const std::vector<double> dots = this->Ingest(*this->torch_, pass);
    for (size_t i = 0; i < n; ++i) {
      plain[i] = static_cast<T>(0.9 * double(momentum[i]) +
                                (1 - 0.9) * double(gradient[i]));
    }
    if (std::is_same_v<T, float>) {
      EXPECT_LE(WorstUlp(staged, expected), 1);
      EXPECT_LE(WorstUlp(staged, plain), 1);
    }
    // Where the two terms cancel an ulp of the terms is many of the sum.
    for (size_t i = 0; i < n; ++i) {
      const double scale = std::abs(momentum[i]) + std::abs(gradient[i]);
      const double bound = scale * std::numeric_limits<T>::epsilon();
      ASSERT_NEAR(staged[i], expected[i], bound);
      ASSERT_NEAR(staged[i], plain[i], bound);
    }
    ExpectDots(dots, PlainDots(staged, rows));
  }
}

TYPED_TEST(TorchIngest, IngestInPlaceGivesTheSameBits) {
  using T = TypeParam;
  const size_t n = this->torch_->block_elements() + 5;
  const std::vector<T> gradient = SeededVector<T>(n, 1);
  const std::vector<T> momentum = SeededVector<T>(n, 2);
  std::vector<T> apart(n), in_place = gradient;
  IngestPass pass;
  pass.count = n;
  pass.beta_1 = 0.5;
  pass.gradient = gradient.data();
  pass.momentum = momentum.data();
  pass.staged = apart.data();
  const std::vector<double> dots_apart = this->Ingest(*this->torch_, pass);
  pass.gradient = in_place.data();
  pass.staged = in_place.data();
  const std::vector<double> dots_in_place = this->Ingest(*this->torch_, pass);
  EXPECT_EQ(apart, in_place);
  EXPECT_EQ(dots_apart, dots_in_place);
}

TYPED_TEST(TorchIngest, GradientsOfSixteenBitsGiveTheBitsOfTheWidenedOnes) {
  using T = TypeParam;
  if (!std::is_same_v<T, float>) GTEST_SKIP() << "fp32 vectors alone";
  for (const HalfType type : {HalfType::kBfloat16, HalfType::kFloat16}) {
    for (const size_t n : this->Sizes()) {
      std::vector<float> wide = SeededVector<float>(n, 1);
      const std::vector<float> momentum = SeededVector<float>(n, 2);
      std::vector<uint16_t> half(n);
      Narrow(type, wide.data(), n, half.data());
      Widen(type, half.data(), n, wide.data());
      for (const void* before : {static_cast<const void*>(momentum.data()),
                                 static_cast<const void*>(nullptr)}) {
        std::vector<float> expected(n), staged(n);
        IngestPass pass;
        pass.count = n;
        pass.beta_1 = 0.9;
        pass.momentum = before;
        pass.gradient = wide.data();
        pass.staged = expected.data();
        const std::vector<double> dots = this->Ingest(*this->torch_, pass);
        pass.gradient = half.data();
        pass.gradient_type = type;
        pass.staged = staged.data();
        EXPECT_EQ(this->Ingest(*this->torch_, pass), dots);
        EXPECT_EQ(staged, expected);
      }
    }
  }
}

TYPED_TEST(TorchIngest, WithoutMomentumTheGradientIsCopiedOrTakenAsItIs) {
  using T = TypeParam;
  const size_t n = 1000;
  const std::vector<T> gradient = SeededVector<T>(n, 1);
  const std::vector<std::vector<T>> rows = {SeededVector<T>(n, 2)};
  const std::vector<const void*> pointers = Pointers(rows);
  std::vector<T> staged(n);
  IngestPass pass;
  pass.count = n;
  pass.gradient = gradient.data();
  pass.rows = pointers;
  const std::vector<double> untouched = this->Ingest(*this->torch_, pass);
  pass.staged = staged.data();
  const std::vector<double> copied = this->Ingest(*this->torch_, pass);
  EXPECT_EQ(staged, gradient);
  EXPECT_EQ(untouched, copied);
  ExpectDots(copied, PlainDots(gradient, rows));
}

TYPED_TEST(TorchIngest, RangesOfBlocksGiveWhatTheWholeGives) {
  using T = TypeParam;
  const size_t block = this->torch_->block_elements(), n = 2 * block + 9;
  const std::vector<T> gradient = SeededVector<T>(n, 1);
  const std::vector<T> momentum = SeededVector<T>(n, 2);
  const std::vector<T> row = SeededVector<T>(n, 3);
  std::vector<T> whole(n), parts(n);
  const void* whole_row = row.data();
  IngestPass pass;
  pass.count = n;
  pass.beta_1 = 0.9;
  pass.gradient = gradient.data();
  pass.momentum = momentum.data();
  pass.staged = whole.data();
  pass.rows = absl::MakeConstSpan(&whole_row, 1);
  const std::vector<double> dots = this->Ingest(*this->torch_, pass);
  std::vector<double> dots_of_parts;
  for (size_t begin = 0; begin < n; begin += block) {
    const void* part_row = row.data() + begin;
    pass.count = std::min(block, n - begin);
    pass.gradient = gradient.data() + begin;
    pass.momentum = momentum.data() + begin;
    pass.staged = parts.data() + begin;
    pass.rows = absl::MakeConstSpan(&part_row, 1);
    for (double dot : this->Ingest(*this->torch_, pass)) {
      dots_of_parts.push_back(dot);
    }
  }
  EXPECT_EQ(whole, parts);
  ASSERT_EQ(dots.size(), dots_of_parts.size());
  for (size_t i = 0; i < dots.size(); ++i) {
    EXPECT_NEAR(dots[i], dots_of_parts[i], 1e-12 * static_cast<double>(block));
  }
}

TYPED_TEST(TorchIngest, NaNAndInfinityReachTheDots) {
  using T = TypeParam;
  for (const T bad : {std::numeric_limits<T>::quiet_NaN(),
                      std::numeric_limits<T>::infinity()}) {
    std::vector<T> gradient = SeededVector<T>(100, 1), staged(100);
    const std::vector<T> momentum = SeededVector<T>(100, 2);
    gradient[37] = bad;
    IngestPass pass;
    pass.count = 100;
    pass.beta_1 = 0.9;
    pass.gradient = gradient.data();
    pass.momentum = momentum.data();
    pass.staged = staged.data();
    EXPECT_FALSE(std::isfinite(this->Ingest(*this->torch_, pass)[0]));
    EXPECT_FALSE(std::isfinite(staged[37]));
  }
}

TYPED_TEST(TorchIngest, ARowOfDenormalsWeighsNothingOnEitherBackend) {
  using T = TypeParam;
  const std::vector<T> gradient(64, std::numeric_limits<T>::denorm_min() * 9);
  for (Kernels* kernels : {this->torch_.get(), this->cpu_.get()}) {
    IngestPass pass;
    pass.count = gradient.size();
    pass.gradient = gradient.data();
    EXPECT_EQ(this->Ingest(*kernels, pass)[0], 0) << kernels->device();
  }
}

}  // namespace
}  // namespace concord
