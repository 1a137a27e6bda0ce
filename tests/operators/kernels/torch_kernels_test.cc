// The torch kernels on LibTorch's CPU, against the built-in kernels and against
// plain loops in fp64.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/kernels/cpu_kernels.h"
#include "operators/kernels/kernels.h"
#include "operators/kernels/torch_module.h"
#include "operators/momentum/momentum_operator.h"

namespace concord {
namespace {

std::shared_ptr<Kernels> TorchCpu() {
  absl::StatusOr<std::shared_ptr<Kernels>> kernels =
      LoadTorchKernels("cpu", CONCORD_TORCH_MODULE);
  EXPECT_TRUE(kernels.ok()) << kernels.status();
  return kernels.ok() ? *kernels : nullptr;
}

template <class T>
constexpr Dtype kDtype =
    std::is_same_v<T, float> ? Dtype::kFloat32 : Dtype::kFloat64;

template <class T>
std::vector<T> RandomVector(size_t n, unsigned seed, double scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<T> values(n);
  for (T& value : values) value = static_cast<T>(normal(generator));
  return values;
}

// Units in the last place between two numbers of one sign.
template <class T>
double UlpDistance(T a, T b) {
  if (a == b) return 0;
  const T size = std::max(std::abs(a), std::abs(b));
  return std::abs(static_cast<double>(a) - static_cast<double>(b)) /
         (static_cast<double>(
              std::nextafter(size, std::numeric_limits<T>::infinity())) -
          static_cast<double>(size));
}

template <class T>
double WorstUlp(const std::vector<T>& a, const std::vector<T>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, UlpDistance(a[i], b[i]));
  }
  return worst;
}

// Difference of two vectors over the size of what was expected.
template <class T>
double RelativeError(const std::vector<T>& value,
                     const std::vector<T>& expected) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(double(value[i]) - double(expected[i]), 2);
    size += std::pow(double(expected[i]), 2);
  }
  return std::sqrt(difference / size);
}

// Sums over the blocks of `dots`, and the sums of absolute products that an
// error is measured against.
struct Sums {
  std::vector<double> value, scale;
};

Sums SumBlocks(const std::vector<double>& dots, size_t width) {
  Sums sums{std::vector<double>(width), {}};
  for (size_t i = 0; i < dots.size(); ++i) sums.value[i % width] += dots[i];
  return sums;
}

template <class T>
Sums PlainDots(const std::vector<T>& a,
               const std::vector<std::vector<T>>& rows) {
  Sums sums{std::vector<double>(rows.size() + 1),
            std::vector<double>(rows.size() + 1)};
  for (size_t j = 0; j <= rows.size(); ++j) {
    const std::vector<T>& b = j == 0 ? a : rows[j - 1];
    for (size_t i = 0; i < a.size(); ++i) {
      sums.value[j] += double(a[i]) * double(b[i]);
      sums.scale[j] += std::abs(double(a[i]) * double(b[i]));
    }
  }
  return sums;
}

void ExpectDots(const std::vector<double>& dots, const Sums& expected) {
  const Sums sums = SumBlocks(dots, expected.value.size());
  for (size_t j = 0; j < expected.value.size(); ++j) {
    EXPECT_NEAR(sums.value[j], expected.value[j], 1e-12 * expected.scale[j])
        << "row " << j;
  }
}

template <class T>
std::vector<const void*> Pointers(const std::vector<std::vector<T>>& rows) {
  std::vector<const void*> pointers;
  for (const std::vector<T>& row : rows) pointers.push_back(row.data());
  return pointers;
}

size_t Blocks(const Kernels& kernels, size_t count) {
  return (count + kernels.block_elements() - 1) / kernels.block_elements();
}

template <class T>
class TorchKernelsTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(torch_, nullptr); }

  std::vector<double> Ingest(Kernels& kernels, IngestPass pass) {
    pass.dtype = kDtype<T>;
    std::vector<double> dots(
        Blocks(kernels, pass.count) * (pass.rows.size() + 1), -1);
    pass.dots = dots.data();
    const absl::Status status = kernels.Ingest(pass);
    EXPECT_TRUE(status.ok()) << status;
    return dots;
  }

  std::vector<double> Commit(Kernels& kernels, CommitPass pass) {
    pass.dtype = kDtype<T>;
    std::vector<double> dots(
        Blocks(kernels, pass.count) * (pass.rows.size() + 1), -1);
    pass.update_dots = dots.data();
    const absl::Status status = kernels.Commit(pass);
    EXPECT_TRUE(status.ok()) << status;
    return dots;
  }

  // Sizes around one element, one block and a slab of blocks.
  std::vector<size_t> Sizes() const {
    const size_t block = torch_->block_elements();
    return {1, 1000, block - 1, block, block + 1, 3 * block + 17};
  }

  const std::shared_ptr<Kernels> torch_ = TorchCpu();
  const std::shared_ptr<Kernels> cpu_ = MakeCpuKernels(1);
};

using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(TorchKernelsTest, Types);

TYPED_TEST(TorchKernelsTest, StagesTheMomentumAndItsDotsLikeTheCpuKernels) {
  using T = TypeParam;
  for (const size_t n : this->Sizes()) {
    SCOPED_TRACE(n);
    const std::vector<T> gradient = RandomVector<T>(n, 1);
    const std::vector<T> momentum = RandomVector<T>(n, 2);
    const std::vector<std::vector<T>> rows = {RandomVector<T>(n, 3, 1e-3),
                                              RandomVector<T>(n, 4, 1e3)};
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

TYPED_TEST(TorchKernelsTest, IngestInPlaceGivesTheSameBits) {
  using T = TypeParam;
  const size_t n = this->torch_->block_elements() + 5;
  const std::vector<T> gradient = RandomVector<T>(n, 1);
  const std::vector<T> momentum = RandomVector<T>(n, 2);
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

TYPED_TEST(TorchKernelsTest, WithoutMomentumTheGradientIsCopiedOrTakenAsItIs) {
  using T = TypeParam;
  const size_t n = 1000;
  const std::vector<T> gradient = RandomVector<T>(n, 1);
  const std::vector<std::vector<T>> rows = {RandomVector<T>(n, 2)};
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

TYPED_TEST(TorchKernelsTest, RangesOfBlocksGiveWhatTheWholeGives) {
  using T = TypeParam;
  const size_t block = this->torch_->block_elements(), n = 2 * block + 9;
  const std::vector<T> gradient = RandomVector<T>(n, 1);
  const std::vector<T> momentum = RandomVector<T>(n, 2);
  const std::vector<T> row = RandomVector<T>(n, 3);
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

TYPED_TEST(TorchKernelsTest, NaNAndInfinityReachTheDots) {
  using T = TypeParam;
  for (const T bad : {std::numeric_limits<T>::quiet_NaN(),
                      std::numeric_limits<T>::infinity()}) {
    std::vector<T> gradient = RandomVector<T>(100, 1), staged(100);
    const std::vector<T> momentum = RandomVector<T>(100, 2);
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

TYPED_TEST(TorchKernelsTest, ARowOfDenormalsWeighsNothingOnEitherBackend) {
  using T = TypeParam;
  const std::vector<T> gradient(64, std::numeric_limits<T>::denorm_min() * 9);
  for (Kernels* kernels : {this->torch_.get(), this->cpu_.get()}) {
    IngestPass pass;
    pass.count = gradient.size();
    pass.gradient = gradient.data();
    EXPECT_EQ(this->Ingest(*kernels, pass)[0], 0) << kernels->device();
  }
}

// One commit on both backends and in plain fp64, in the three forms it has.
enum class Second { kNone, kRecomputed, kUpdated };

template <class T>
struct Committed {
  std::vector<T> update, second;
  std::vector<double> dots;
};

TYPED_TEST(TorchKernelsTest, CommitsLikeTheCpuKernels) {
  using T = TypeParam;
  for (const size_t n : this->Sizes()) {
    for (const Second form :
         {Second::kNone, Second::kRecomputed, Second::kUpdated}) {
      SCOPED_TRACE(::testing::Message()
                   << "n = " << n << ", form " << static_cast<int>(form));
      const std::vector<std::vector<T>> rows = {
          RandomVector<T>(n, 1), RandomVector<T>(n, 2), RandomVector<T>(n, 3)};
      const std::vector<std::vector<T>> previous_rows = {RandomVector<T>(n, 4)};
      const std::vector<const void*> pointers = Pointers(rows);
      const std::vector<const void*> previous = Pointers(previous_rows);
      std::vector<T> second = RandomVector<T>(n, 5);
      for (T& value : second) value = std::abs(value);
      const std::vector<double> direction = {0.3, 0.9, 1.1};
      const std::vector<double> pseudo = {2.5, -1.5, 0.5}, p = {-0.7};
      const auto run = [&](Kernels& kernels) {
        Committed<T> out{std::vector<T>(n), second, {}};
        CommitPass pass;
        pass.count = n;
        pass.rows = pointers;
        pass.direction = direction;
        pass.pseudo = pseudo;
        pass.previous_rows = previous;
        pass.previous = p;
        pass.second = form == Second::kNone ? nullptr : out.second.data();
        pass.update_second = form == Second::kUpdated;
        pass.beta_2 = 0.999;
        pass.correction = 1.25;
        pass.update = out.update.data();
        out.dots = this->Commit(kernels, pass);
        return out;
      };
      const Committed<T> torch = run(*this->torch_), cpu = run(*this->cpu_);
      const double epsilon = std::numeric_limits<T>::epsilon();
      for (size_t i = 0; i < n; ++i) {
        double r = 0, ghat = p[0] * double(previous_rows[0][i]), terms = 0;
        double ghat_terms = std::abs(ghat);
        for (size_t j = 0; j < rows.size(); ++j) {
          r += direction[j] * double(rows[j][i]);
          terms += std::abs(direction[j] * double(rows[j][i]));
          ghat += pseudo[j] * double(rows[j][i]);
          ghat_terms += std::abs(pseudo[j] * double(rows[j][i]));
        }
        double s = second[i], update = r, size = terms;
        if (form == Second::kUpdated) s += 0.001 * (ghat * ghat - s);
        if (form != Second::kNone) {
          const double divisor = std::sqrt(s * 1.25) + 1e-8;
          update /= divisor;
          size /= divisor;
        }
        // Sums that cancel keep the rounding errors of their terms.
        const double second_error =
            4 * epsilon * s + 1e-18 * ghat_terms * ghat_terms;
        const double error = size * (8 * epsilon + second_error / s);
        ASSERT_NEAR(torch.second[i], s, second_error);
        ASSERT_NEAR(torch.update[i], update, error);
        ASSERT_NEAR(torch.update[i], cpu.update[i], error);
      }
      ExpectDots(torch.dots, PlainDots(torch.update, rows));
      if (form != Second::kUpdated) {
        EXPECT_EQ(torch.second, second);
      }
    }
  }
}

TYPED_TEST(TorchKernelsTest, RecomputingACommittedUpdateGivesTheSameBits) {
  using T = TypeParam;
  const size_t n = this->torch_->block_elements() + 3;
  const std::vector<std::vector<T>> rows = {RandomVector<T>(n, 1),
                                            RandomVector<T>(n, 2)};
  const std::vector<const void*> pointers = Pointers(rows);
  const std::vector<double> direction = {0.3, 0.9}, pseudo = {2.5, -1.5};
  std::vector<T> second(n), first(n), again(n);
  CommitPass pass;
  pass.count = n;
  pass.rows = pointers;
  pass.direction = direction;
  pass.pseudo = pseudo;
  pass.second = second.data();
  pass.update_second = true;
  pass.beta_2 = 0.999;
  pass.correction = 1000;
  pass.update = first.data();
  this->Commit(*this->torch_, pass);
  pass.update_second = false;
  pass.update = again.data();
  this->Commit(*this->torch_, pass);
  EXPECT_EQ(first, again);
}

TYPED_TEST(TorchKernelsTest, CopiesAndZeroedMemoryWork) {
  using T = TypeParam;
  const std::vector<T> values = RandomVector<T>(777, 1);
  const size_t bytes = values.size() * sizeof(T);
  auto memory = this->torch_->Allocate(bytes);
  ASSERT_TRUE(memory.ok()) << memory.status();
  ASSERT_EQ((*memory)->size(), bytes);
  std::vector<T> back(values.size(), 1);
  ASSERT_TRUE(
      this->torch_->CopyToHost(back.data(), (*memory)->data(), bytes).ok());
  EXPECT_EQ(back, std::vector<T>(values.size(), 0));
  ASSERT_TRUE(
      this->torch_->CopyFromHost((*memory)->data(), values.data(), bytes).ok());
  ASSERT_TRUE(
      this->torch_->CopyToHost(back.data(), (*memory)->data(), bytes).ok());
  EXPECT_EQ(back, values);
}

TYPED_TEST(TorchKernelsTest, MemoryThatTheDeviceHasNotIsResourceExhausted) {
  const auto memory = this->torch_->Allocate(size_t{1} << 60);
  EXPECT_EQ(memory.status().code(), absl::StatusCode::kResourceExhausted);
}

// Fifty steps of M-ConFIG with random subsets of three losses.
TYPED_TEST(TorchKernelsTest, AWholeRunAgreesWithTheCpuKernels) {
  using T = TypeParam;
  const size_t n = 10007;
  OperatorOptions options;
  options.num_vectors = 3;
  options.num_parameters = n;
  options.dtype = kDtype<T>;
  options.momentum = PseudoMomentumOptions();
  auto on_torch = MomentumOperator::Create(options, this->torch_);
  auto on_cpu = MomentumOperator::Create(options, this->cpu_);
  ASSERT_TRUE(on_torch.ok()) << on_torch.status();
  ASSERT_TRUE(on_cpu.ok()) << on_cpu.status();
  const double tolerance = std::is_same_v<T, float> ? 2e-6 : 1e-10;
  std::mt19937 generator(7);
  std::vector<T> update(n), expected(n);
  for (int step = 0; step < 50; ++step) {
    std::vector<int> indexes;
    std::vector<std::vector<T>> gradients;
    while (indexes.empty()) {
      for (int i = 0; i < 3; ++i) {
        if (generator() % 2 == 0) continue;
        indexes.push_back(i);
        gradients.push_back(RandomVector<T>(n, generator(), i + 1));
      }
    }
    const std::vector<const void*> pointers = Pointers(gradients);
    const auto run = [&](MomentumOperator& op, std::vector<T>& out) {
      absl::Status status = op.Ingest(indexes, pointers);
      if (status.ok()) status = op.Solve({}, {});
      if (status.ok()) status = op.Commit(out.data(), true, [](size_t) {});
      return status;
    };
    ASSERT_TRUE(run(**on_torch, update).ok());
    ASSERT_TRUE(run(**on_cpu, expected).ok());
    if (on_cpu.value()->committed()->warming_up) {
      EXPECT_EQ(update, std::vector<T>(n, 0)) << "step " << step;
      EXPECT_EQ(expected, update) << "step " << step;
    } else {
      EXPECT_LE(RelativeError(update, expected), tolerance) << "step " << step;
    }
  }
  EXPECT_GT(*std::max_element(update.begin(), update.end()), 0);
}

}  // namespace
}  // namespace concord
