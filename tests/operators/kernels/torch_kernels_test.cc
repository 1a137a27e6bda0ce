// Pass 2 of the torch kernels on LibTorch's CPU and whole runs, against the
// built-in kernels and against plain loops in fp64.
#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "operators/momentum/momentum_operator.h"
#include "tests/operators/kernels/torch_kernels_fixture.h"

namespace concord {
namespace {

TYPED_TEST_SUITE(TorchKernelsTest, TorchTypes);

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
          SeededVector<T>(n, 1), SeededVector<T>(n, 2), SeededVector<T>(n, 3)};
      const std::vector<std::vector<T>> previous_rows = {SeededVector<T>(n, 4)};
      const std::vector<const void*> pointers = Pointers(rows);
      const std::vector<const void*> previous = Pointers(previous_rows);
      std::vector<T> second = SeededVector<T>(n, 5);
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
  const std::vector<std::vector<T>> rows = {SeededVector<T>(n, 1),
                                            SeededVector<T>(n, 2)};
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
  const std::vector<T> values = SeededVector<T>(777, 1);
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
        gradients.push_back(SeededVector<T>(n, generator(), i + 1));
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
