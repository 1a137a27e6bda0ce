// The torch kernels' passes that make rows and directions, on LibTorch's CPU,
// against the built-in kernels.
#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "operators/momentum/momentum_operator.h"
#include "tests/operators/kernels/torch_kernels_fixture.h"

namespace concord {
namespace {

template <class T>
class TorchRowsTest : public TorchKernelsTest<T> {};
TYPED_TEST_SUITE(TorchRowsTest, TorchTypes);

template <class T>
struct Rescaled {
  std::vector<T> momentum, second, row;
};

TYPED_TEST(TorchRowsTest, SeparatesLikeTheCpuKernels) {
  using T = TypeParam;
  for (const size_t n : this->Sizes()) {
    for (const bool in_place : {false, true}) {
      const auto gradient = SeededVector<T>(n, 1),
                 momentum = SeededVector<T>(n, 2);
      std::vector<T> second = SeededVector<T>(n, 3);
      for (T& value : second) value = std::abs(value);
      const auto run = [&](Kernels& kernels) {
        Rescaled<T> out{in_place ? gradient : std::vector<T>(n),
                        std::vector<T>(n), std::vector<T>(n)};
        SeparatePass pass;
        pass.dtype = kDtype<T>;
        pass.count = n;
        pass.gradient = in_place ? out.momentum.data() : gradient.data();
        pass.momentum = momentum.data();
        pass.second = second.data();
        pass.new_momentum = out.momentum.data();
        pass.new_second = out.second.data();
        pass.beta_1 = 0.9;
        pass.beta_2 = 0.999;
        pass.scale = 1.5;
        pass.second_scale = 2.5;
        pass.rescaled = out.row.data();
        EXPECT_TRUE(kernels.Separate(pass).ok());
        // The same row from what is stored now.
        std::vector<T> again(n);
        pass.gradient = nullptr;
        pass.momentum = out.momentum.data();
        pass.second = out.second.data();
        pass.rescaled = again.data();
        EXPECT_TRUE(kernels.Separate(pass).ok());
        EXPECT_TRUE(SameBits(out.row, again));
        return out;
      };
      const Rescaled<T> torch = run(*this->torch_), cpu = run(*this->cpu_);
      EXPECT_LE(WorstUlp(torch.second, cpu.second), 2);
      const double epsilon = std::numeric_limits<T>::epsilon();
      for (size_t e = 0; e < n; ++e) {
        // Sums that cancel keep the rounding errors of their terms.
        const double terms = 0.9 * std::abs(double(momentum[e])) +
                             0.1 * std::abs(double(gradient[e]));
        ASSERT_NEAR(torch.momentum[e], cpu.momentum[e], 2 * epsilon * terms);
        const double divisor = std::sqrt(2.5 * double(cpu.second[e])) + 1e-8;
        ASSERT_NEAR(torch.row[e], cpu.row[e],
                    8 * epsilon * 1.5 * terms / divisor);
      }
    }
  }
}

TYPED_TEST(TorchRowsTest, CombinesColumnsLikeTheCpuKernels) {
  using T = TypeParam;
  const ColumnRule rules[] = {
      SignDropRule{uint64_t{1} << 40 | 5, (uint64_t{7} << 33) + 1, {0, 0.5, 1}},
      TrimmedMeanRule{1}, TrimmedMeanRule{0}};
  for (const size_t n : this->Sizes()) {
    std::vector<std::vector<T>> rows = {
        SeededVector<T>(n, 1), SeededVector<T>(n, 2), SeededVector<T>(n, 3)};
    for (auto& row : rows) row[n / 2] = 0;
    const std::vector<const void*> pointers = Pointers(rows);
    const std::vector<double> scales = {1, 0.25, 3};
    for (const ColumnRule& rule : rules) {
      const auto run = [&](Kernels& kernels) {
        std::vector<T> direction(n, T(-1));
        ColumnPass pass;
        pass.dtype = kDtype<T>;
        // Columns whose numbers do not fit into 32 bits.
        pass.first = (size_t{1} << 35) + 3;
        pass.count = n;
        pass.rows = pointers;
        pass.scales = scales;
        pass.rule = &rule;
        pass.direction = direction.data();
        EXPECT_TRUE(kernels.CombineColumns(pass).ok());
        return direction;
      };
      const std::vector<T> torch = run(*this->torch_), cpu = run(*this->cpu_);
      EXPECT_EQ(torch[n / 2], 0);
      for (size_t e = 0; e < n; ++e) {
        double terms = 0;
        for (size_t i = 0; i < rows.size(); ++i) {
          terms += std::abs(scales[i] * double(rows[i][e]));
        }
        ASSERT_NEAR(torch[e], cpu[e], std::numeric_limits<T>::epsilon() * terms)
            << "rule " << rule.index() << ", column " << e;
      }
    }
  }
}

TYPED_TEST(TorchRowsTest, WholeRunsAgreeWithTheCpuKernels) {
  using T = TypeParam;
  const size_t n = this->torch_->block_elements() + 1001;
  const double bound = std::is_same_v<T, float> ? 1e-5 : 1e-10;
  const std::vector<CombinerOptions> combiners = {
      ConFIGOptions{}, TrimmedMeanOptions{1}, GradDropOptions{3, {}}};
  for (const CombinerOptions& combiner : combiners) {
    for (const MomentumOptions& momentum :
         {MomentumOptions(SeparateMomentumOptions{}),
          MomentumOptions(PseudoMomentumOptions{}),
          MomentumOptions(NoMomentumOptions{})}) {
      OperatorOptions options;
      options.num_vectors = 3;
      options.num_parameters = n;
      options.dtype = kDtype<T>;
      options.combiner = combiner;
      options.momentum = momentum;
      auto torch = MomentumOperator::Create(options, this->torch_);
      auto cpu = MomentumOperator::Create(options, this->cpu_);
      ASSERT_TRUE(torch.ok()) << torch.status();
      ASSERT_TRUE(cpu.ok()) << cpu.status();
      for (unsigned step = 0; step < 3; ++step) {
        std::vector<std::vector<T>> gradients;
        for (unsigned i = 0; i < 3; ++i) {
          gradients.push_back(SeededVector<T>(n, 10 * step + i));
        }
        const std::vector<const void*> pointers = Pointers(gradients);
        const auto take = [&](MomentumOperator& op) {
          std::vector<T> update(n);
          EXPECT_TRUE(op.Ingest({0, 1, 2}, pointers).ok());
          EXPECT_TRUE(op.Solve({}, {}).ok());
          EXPECT_TRUE(op.Commit(update.data(), true, [](size_t) {}).ok());
          return update;
        };
        EXPECT_LE(RelativeError(take(**torch), take(**cpu)), bound)
            << "combiner " << combiner.index() << ", momentum "
            << momentum.index() << ", step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace concord
