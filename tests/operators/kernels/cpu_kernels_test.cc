#include "operators/kernels/cpu_kernels.h"

#include <sys/resource.h>

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "operators/kernels/cpu_passes.h"
#include "operators/kernels/exact_factor.h"
#include "tests/operators/random_vectors.h"

namespace concord {
namespace {

template <class T>
constexpr Dtype kDtype =
    std::is_same_v<T, float> ? Dtype::kFloat32 : Dtype::kFloat64;

// Both passes on three rows, all outputs in one.
template <class T>
struct Passes {
  std::vector<T> staged, second, update;
  std::vector<double> dots, update_dots;

  bool operator==(const Passes& other) const {
    return SameBits(staged, other.staged) && SameBits(second, other.second) &&
           SameBits(update, other.update) && SameBits(dots, other.dots) &&
           SameBits(update_dots, other.update_dots);
  }
};

template <class T>
struct Input {
  explicit Input(size_t n, unsigned seed = 1) {
    std::mt19937 engine(seed);
    for (auto& row : rows) row = RandomVector<T>(n, &engine);
    gradient = RandomVector<T>(n, &engine);
    second = RandomVector<T>(n, &engine);
    for (T& value : second) value = std::abs(value);
  }
  std::vector<T> rows[4];
  std::vector<T> gradient, second;
};

template <class T>
Passes<T> RunPasses(Kernels& kernels, const Input<T>& input) {
  const size_t n = input.gradient.size();
  const size_t blocks =
      (n + kernels.block_elements() - 1) / kernels.block_elements();
  Passes<T> out{std::vector<T>(n), input.second, std::vector<T>(n),
                std::vector<double>(blocks * 5),
                std::vector<double>(blocks * 5)};
  const std::vector<const void*> others = {
      input.rows[0].data(), input.rows[1].data(), input.rows[2].data(),
      input.rows[3].data()};
  IngestPass ingest;
  ingest.dtype = kDtype<T>;
  ingest.count = n;
  ingest.beta_1 = 0.9;
  ingest.gradient = input.gradient.data();
  ingest.momentum = input.rows[0].data();
  ingest.staged = out.staged.data();
  ingest.rows = others;
  ingest.dots = out.dots.data();
  EXPECT_TRUE(kernels.Ingest(ingest).ok());

  const std::vector<const void*> rows = {out.staged.data(), others[1],
                                         others[2], others[3]};
  const std::vector<const void*> previous = {others[0]};
  const std::vector<double> direction = {0.3, -0.2, 1.1, 0.7},
                            pseudo = {0.5, -0.25, 1, 2}, change = {-2.5};
  CommitPass commit;
  commit.dtype = kDtype<T>;
  commit.count = n;
  commit.rows = rows;
  commit.direction = direction;
  commit.pseudo = pseudo;
  commit.previous_rows = previous;
  commit.previous = change;
  commit.second = out.second.data();
  commit.update_second = true;
  commit.beta_2 = 0.999;
  commit.correction = 1.5;
  commit.update = out.update.data();
  commit.update_dots = out.update_dots.data();
  EXPECT_TRUE(kernels.Commit(commit).ok());
  return out;
}

template <class T>
class CpuKernelsTest : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(CpuKernelsTest, Types);

// fp32 rows are combined with ExactFactors.
template <class T>
constexpr double kCoefficientError = std::is_same_v<T, float> ? 0x1p-29 : 0;

// Lengths around the edges of tiles, stretches and blocks.
const size_t kLengths[] = {1, 15, 16, 17, 511, 513, 4096, 4099, 100003};

TYPED_TEST(CpuKernelsTest, PassesAgreeWithPlainLoops) {
  using T = TypeParam;
  const double epsilon = std::numeric_limits<T>::epsilon();
  auto kernels = MakeCpuKernels(1);
  for (const size_t n : kLengths) {
    const Input<T> input(n);
    const Passes<T> out = RunPasses(*kernels, input);
    for (size_t e = 0; e < n; ++e) {
      const double staged =
          0.9 * input.rows[0][e] + (1 - 0.9) * double(input.gradient[e]);
      ASSERT_NEAR(out.staged[e], staged, epsilon * std::abs(staged));
      const double now = out.staged[e];
      const double r = 0.3 * now - 0.2 * input.rows[1][e] +
                       1.1 * input.rows[2][e] + 0.7 * input.rows[3][e];
      const double pseudo = 0.5 * now - 0.25 * input.rows[1][e] +
                            input.rows[2][e] + 2 * double(input.rows[3][e]) -
                            2.5 * double(input.rows[0][e]);
      const double second =
          input.second[e] + (1 - 0.999) * (pseudo * pseudo - input.second[e]);
      // Terms of the sums are of order ten at most.
      ASSERT_NEAR(out.second[e], second, 20 * epsilon);
      const double scale = std::sqrt(out.second[e] * 1.5) + 1e-8;
      const double update = double(static_cast<T>(r)) / scale;
      const double terms =
          0.3 * std::abs(now) + 0.2 * std::abs(input.rows[1][e]) +
          1.1 * std::abs(input.rows[2][e]) + 0.7 * std::abs(input.rows[3][e]);
      ASSERT_NEAR(out.update[e], update,
                  4 * epsilon * std::abs(update) +
                      kCoefficientError<T> * terms / scale);
    }
    for (int row = 0; row < 5; ++row) {
      double dot = 0, update_dot = 0, size = 0, update_size = 0;
      for (size_t e = 0; e < n; ++e) {
        const double other = row == 0 ? out.staged[e] : input.rows[row - 1][e];
        dot += double(out.staged[e]) * other;
        size += std::abs(out.staged[e] * other);
        const double other_update = row == 0   ? out.update[e]
                                    : row == 1 ? out.staged[e]
                                               : input.rows[row - 1][e];
        update_dot += double(out.update[e]) * other_update;
        update_size += std::abs(out.update[e] * other_update);
      }
      double got = 0, got_update = 0;
      for (size_t b = 0; b * 5 < out.dots.size(); ++b) {
        got += out.dots[b * 5 + row];
        got_update += out.update_dots[b * 5 + row];
      }
      EXPECT_NEAR(got, dot, 1e-13 * size);
      EXPECT_NEAR(got_update, update_dot, 1e-13 * update_size);
    }
  }
}

TYPED_TEST(CpuKernelsTest, EveryInstructionSetGivesTheSameBits) {
  using T = TypeParam;
  auto kernels = MakeCpuKernels(1);
  for (const size_t n : kLengths) {
    const Input<T> input(n);
    const Passes<T> expected = RunPasses(*kernels, input);
    int targets = 0;
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
      hwy::SetSupportedTargetsForTest(target);
      EXPECT_TRUE(RunPasses(*kernels, input) == expected)
          << hwy::TargetName(target) << " at n = " << n;
      ++targets;
    }
    hwy::SetSupportedTargetsForTest(0);
    EXPECT_GE(targets, 2);
  }
}

TYPED_TEST(CpuKernelsTest, EveryNumberOfThreadsGivesTheSameBits) {
  using T = TypeParam;
  const Input<T> input(1000003);
  const Passes<T> expected = RunPasses(*MakeCpuKernels(1), input);
  for (const int threads : {2, 3, 8}) {
    auto kernels = MakeCpuKernels(threads);
    EXPECT_EQ(kernels->threads(), threads);
    EXPECT_TRUE(RunPasses(*kernels, input) == expected)
        << threads << " threads";
  }
}

TYPED_TEST(CpuKernelsTest, IngestInPlaceGivesTheSameBits) {
  using T = TypeParam;
  const Input<T> input(5000);
  std::vector<T> apart(5000), in_place = input.gradient;
  double dots[4], dots_in_place[4];
  auto kernels = MakeCpuKernels(1);
  const std::vector<const void*> rows = {input.rows[1].data()};
  IngestPass pass;
  pass.dtype = kDtype<T>;
  pass.count = 5000;
  pass.beta_1 = 0.9;
  pass.gradient = input.gradient.data();
  pass.momentum = input.rows[0].data();
  pass.staged = apart.data();
  pass.rows = rows;
  pass.dots = dots;
  ASSERT_TRUE(kernels->Ingest(pass).ok());
  pass.gradient = pass.staged = in_place.data();
  pass.dots = dots_in_place;
  ASSERT_TRUE(kernels->Ingest(pass).ok());
  EXPECT_TRUE(SameBits(apart, in_place));
  EXPECT_THAT(dots_in_place, ::testing::ElementsAreArray(dots));
}

TEST(CpuKernels, AnExactFactorIsCloseAndItsProductsAreExact) {
  std::mt19937 engine(7);
  std::uniform_real_distribution<double> exponent(-60, 60);
  const std::vector<float> rows = RandomVector<float>(2000, &engine);
  for (const float row : rows) {
    const double coefficient = (row < 0 ? -1 : 1) * std::exp2(exponent(engine));
    const double factor = ExactFactor(coefficient);
    ASSERT_NEAR(factor, coefficient, 0x1p-29 * std::abs(coefficient));
    ASSERT_EQ(std::fma(factor, row, -(factor * row)), 0);
  }
  EXPECT_EQ(ExactFactor(0.75), 0.75);
  EXPECT_EQ(ExactFactor(1 - 0x1p-53), 1);  // The rounding carries.
  EXPECT_EQ(ExactFactor(1e-300), 0);
  const double largest = std::numeric_limits<double>::max();
  EXPECT_EQ(ExactFactor(largest), largest);
}

TEST(CpuKernels, DenormalsAreFlushedInEveryPath) {
  const float tiny = std::numeric_limits<float>::denorm_min() * 1000;
  std::vector<float> gradient(17, tiny), momentum(17, 0), staged(17, 1);
  double dot;
  IngestPass pass;
  pass.count = 17;
  pass.beta_1 = 0;
  pass.gradient = gradient.data();
  pass.momentum = momentum.data();
  pass.staged = staged.data();
  pass.dots = &dot;
  ASSERT_TRUE(MakeCpuKernels(1)->Ingest(pass).ok());
  EXPECT_THAT(staged, ::testing::Each(0.0f));
  EXPECT_EQ(dot, 0);
  // The caller's own arithmetic is as it was.
  volatile float half = std::numeric_limits<float>::min();
  half = half / 2;
  EXPECT_GT(half, 0);
}

TEST(CpuKernels, MoreThreadsShareTheWork) {
  // Whether a second thread took part shows in whose time was spent: with one
  // thread nearly all of it is the caller's.
  const auto helpers_share = [](int threads) {
    auto kernels = MakeCpuKernels(threads);
    const Input<float> input(4'000'000);
    const auto seconds = [](int who) {
      rusage usage;
      getrusage(who, &usage);
      return usage.ru_utime.tv_sec + 1e-6 * usage.ru_utime.tv_usec;
    };
    const double process = seconds(RUSAGE_SELF);
    const double caller = seconds(RUSAGE_THREAD);
    for (int i = 0; i < 20; ++i) RunPasses(*kernels, input);
    const double all = seconds(RUSAGE_SELF) - process;
    return 1 - (seconds(RUSAGE_THREAD) - caller) / all;
  };
  const double one = helpers_share(1), two = helpers_share(2);
  RecordProperty("one_thread", std::to_string(one));
  RecordProperty("two_threads", std::to_string(two));
  EXPECT_LT(one, 0.02);
  EXPECT_GT(two, one + 0.05);
}

TEST(CpuKernels, AllocatedMemoryIsZero) {
  auto kernels = MakeCpuKernels(1);
  auto memory = *kernels->Allocate(100001);
  EXPECT_EQ(memory->size(), 100001);
  const char* bytes = static_cast<const char*>(memory->data());
  EXPECT_EQ(std::count(bytes, bytes + 100001, 0), 100001);
}

TEST(CpuKernels, MemoryThatIsNotThereIsRefused) {
  EXPECT_EQ(MakeCpuKernels(1)->Allocate(size_t{1} << 60).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace concord
