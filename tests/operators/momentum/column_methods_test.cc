// GradDrop and TrimmedMean, which work on columns, alone and under momentum.
#include <algorithm>
#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/counter_random.h"
#include "operators/errors.h"
#include "tests/operators/momentum/operator_under_test.h"
#include "tests/operators/random_vectors.h"

namespace concord {
namespace {

using Matrix = std::vector<std::vector<double>>;

double PlainGradDrop(const std::vector<double>& x,
                     const std::vector<double>& leak, double uniform) {
  double sum = 0, size = 0, result = 0;
  for (const double value : x) {
    sum += value;
    size += std::abs(value);
  }
  if (size == 0) return 0;
  const double positive = 0.5 * (1 + sum / size);
  for (size_t i = 0; i < x.size(); ++i) {
    const bool stays =
        (x[i] > 0 && positive > uniform) || (x[i] < 0 && positive < uniform);
    result += (leak[i] + (1 - leak[i]) * (stays ? 1 : 0)) * x[i];
  }
  return result;
}

double PlainTrimmedMean(std::vector<double> x, int trim) {
  std::sort(x.begin(), x.end());
  double sum = 0;
  for (size_t i = trim; i + trim < x.size(); ++i) sum += x[i];
  return sum / (x.size() - 2 * trim);
}

template <class T>
OperatorOptions ColumnOptions(const CombinerOptions& combiner,
                              const MomentumOptions& momentum, int m,
                              size_t n) {
  OperatorOptions options = Options<T>(m, n);
  options.combiner = combiner;
  options.momentum = momentum;
  return options;
}

Matrix Gradients(int m, size_t n, unsigned seed) {
  Matrix gradients;
  for (int i = 0; i < m; ++i) {
    gradients.push_back(SeededVector<double>(n, seed + i));
  }
  return gradients;
}

constexpr size_t kCount = 20011;

TEST(GradDrop, KeepsOneSignPerColumnByTheDrawOfItsStep) {
  const GradDropOptions options{11, {0, 0.25, 1}};
  auto op =
      Make(ColumnOptions<double>(options, NoMomentumOptions{}, 3, kCount));
  for (int step = 0; step < 3; ++step) {
    Matrix gradients = Gradients(3, kCount, 10 * step + 1);
    for (auto& gradient : gradients) gradient[5] = 0;
    const auto update = Step<double>(op.get(), {0, 1, 2}, gradients);
    for (size_t e = 0; e < kCount; ++e) {
      const double expected =
          PlainGradDrop({gradients[0][e], gradients[1][e], gradients[2][e]},
                        options.leak, UniformOfColumn(11, step, e));
      ASSERT_NEAR(update[e], expected, 1e-14 * std::abs(expected)) << e;
    }
    EXPECT_EQ(update[5], 0);
  }
}

TEST(GradDrop, DrawsDifferInEveryColumnStepAndSeedAndAreUniform) {
  double sum = 0, square = 0;
  constexpr int kDraws = 100000;
  for (int e = 0; e < kDraws; ++e) {
    const double u = UniformOfColumn(3, 1, e);
    ASSERT_GT(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    square += u * u;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.005);
  EXPECT_NEAR(square / kDraws, 1.0 / 3, 0.005);
  EXPECT_NE(UniformOfColumn(3, 1, 0), UniformOfColumn(3, 2, 0));
  EXPECT_NE(UniformOfColumn(3, 1, 0), UniformOfColumn(4, 1, 0));
  EXPECT_NE(UniformOfColumn(3, 1, 0), UniformOfColumn(3, 1, uint64_t{1} << 34));
}

TEST(TrimmedMean, IsTheMeanWithoutTheExtremes) {
  auto op = Make(ColumnOptions<double>(TrimmedMeanOptions{2},
                                       NoMomentumOptions{}, 5, kCount));
  const Matrix gradients = Gradients(5, kCount, 3);
  const auto update = Step<double>(op.get(), {0, 1, 2, 3, 4}, gradients);
  for (size_t e = 0; e < kCount; ++e) {
    std::vector<double> column;
    for (const auto& gradient : gradients) column.push_back(gradient[e]);
    ASSERT_DOUBLE_EQ(update[e], PlainTrimmedMean(column, 2)) << e;
  }
}

TEST(ColumnMethods, ThreadsDoNotChangeABit) {
  for (const CombinerOptions& combiner :
       {CombinerOptions(GradDropOptions{1, {}}),
        CombinerOptions(TrimmedMeanOptions{1})}) {
    for (const MomentumOptions& momentum :
         {MomentumOptions(PseudoMomentumOptions{}),
          MomentumOptions(SeparateMomentumOptions{}),
          MomentumOptions(NoMomentumOptions{})}) {
      const size_t n = 300007;
      const auto options = ColumnOptions<float>(combiner, momentum, 3, n);
      auto one = Make(options, 1), three = Make(options, 3);
      for (int step = 0; step < 3; ++step) {
        std::vector<std::vector<float>> gradients;
        for (int i = 0; i < 3; ++i) {
          gradients.push_back(SeededVector<float>(n, 3 * step + i));
        }
        EXPECT_TRUE(SameBits(Step<float>(one.get(), {0, 1, 2}, gradients),
                             Step<float>(three.get(), {0, 1, 2}, gradients)));
      }
    }
  }
}

// M-ConFIG's formulas with the trimmed mean of the momenta as direction.
TEST(ColumnMethods, UnderPseudoMomentumFollowThePlainFormulas) {
  constexpr int kLosses = 3;
  auto op = Make(ColumnOptions<double>(
      TrimmedMeanOptions{1}, PseudoMomentumOptions{}, kLosses, kCount));
  Matrix m(kLosses, std::vector<double>(kCount));
  std::vector<int> t(kLosses);
  std::vector<double> s(kCount), f(kCount);
  int live = 0;
  std::mt19937 engine(4);
  for (int step = 0; step < 12; ++step) {
    std::vector<int> indexes;
    for (int i = 0; i < kLosses; ++i) {
      if (step == 1 || std::bernoulli_distribution(0.6)(engine)) {
        indexes.push_back(i);
      }
    }
    if (indexes.empty()) indexes.push_back(0);
    const Matrix gradients =
        Gradients(static_cast<int>(indexes.size()), kCount, 100 + 10 * step);
    for (size_t k = 0; k < indexes.size(); ++k) {
      ++t[indexes[k]];
      for (size_t e = 0; e < kCount; ++e) {
        double& value = m[indexes[k]][e];
        value = 0.9 * value + 0.1 * gradients[k][e];
      }
    }
    const auto update = Step<double>(op.get(), indexes, gradients);
    std::vector<double> again(kCount);
    ASSERT_TRUE(op->Recompute(again.data()).ok());
    EXPECT_TRUE(SameBits(update, again));
    if (std::count(t.begin(), t.end(), 0) > 0) {
      EXPECT_EQ(update, std::vector<double>(kCount, 0.0));
      continue;
    }
    ++live;
    for (size_t e = 0; e < kCount; ++e) {
      std::vector<double> column;
      for (int i = 0; i < kLosses; ++i) {
        column.push_back(m[i][e] / (1 - std::pow(0.9, t[i])));
      }
      const double r = PlainTrimmedMean(column, 1);
      const double next = r * (1 - std::pow(0.9, live));
      const double pseudo = (next - 0.9 * f[e]) / 0.1;
      f[e] = next;
      s[e] = 0.999 * s[e] + 0.001 * pseudo * pseudo;
      const double expected =
          r / (std::sqrt(s[e] / (1 - std::pow(0.999, live))) + 1e-8);
      ASSERT_NEAR(update[e], expected, 1e-9 * std::max(1.0, std::abs(expected)))
          << "step " << step << ", element " << e;
    }
  }
}

TEST(ColumnMethods, TellTheCosinesOfWhatTheyMade) {
  auto op = Make(ColumnOptions<double>(TrimmedMeanOptions{1},
                                       NoMomentumOptions{}, 3, kCount));
  const Matrix gradients = Gradients(3, kCount, 8);
  std::vector<const void*> pointers;
  for (const auto& gradient : gradients) pointers.push_back(gradient.data());
  ASSERT_TRUE(op->Ingest({0, 1, 2}, pointers).ok());
  const auto update = Finish<double>(op.get(), /*update_cosines=*/true);
  const Eigen::Map<const Eigen::VectorXd> out(update.data(), kCount);
  for (int i = 0; i < 3; ++i) {
    const Eigen::Map<const Eigen::VectorXd> row(gradients[i].data(), kCount);
    const double expected = row.dot(out) / row.norm() / out.norm();
    EXPECT_NEAR(op->committed()->direction_cosines[i], expected, 1e-12);
    EXPECT_NEAR(op->committed()->update_cosines[i], expected, 1e-12);
  }
  EXPECT_NEAR(op->committed()->combination.length, out.norm(), 1e-9);
}

TEST(ColumnMethods, AnExportedStateCarriesOnBitForBit) {
  for (const MomentumOptions& momentum :
       {MomentumOptions(PseudoMomentumOptions{}),
        MomentumOptions(SeparateMomentumOptions{})}) {
    const auto options =
        ColumnOptions<float>(GradDropOptions{2, {}}, momentum, 2, kCount);
    auto op = Make(options), other = Make(options);
    std::vector<float> update;
    for (unsigned step = 0; step < 4; ++step) {
      update = Step<float>(op.get(), {0, 1},
                           {SeededVector<float>(kCount, 2 * step),
                            SeededVector<float>(kCount, 2 * step + 1)});
    }
    ASSERT_TRUE(other->Import(*op->Export()).ok());
    std::vector<float> again(kCount);
    ASSERT_TRUE(other->Recompute(again.data()).ok());
    EXPECT_TRUE(SameBits(update, again));
    const auto next = SeededVector<float>(kCount, 99);
    EXPECT_TRUE(SameBits(Step<float>(op.get(), {1}, {next}),
                         Step<float>(other.get(), {1}, {next})));
  }
}

TEST(ColumnMethods, WorkOnTheActiveLossesAlone) {
  auto op = Make(ColumnOptions<double>(TrimmedMeanOptions{0},
                                       NoMomentumOptions{}, 3, kCount));
  const Matrix gradients = Gradients(3, kCount, 20);
  std::vector<const void*> pointers;
  for (const auto& gradient : gradients) pointers.push_back(gradient.data());
  ASSERT_TRUE(op->Ingest({0, 1, 2}, pointers).ok());
  ASSERT_TRUE(op->Solve({}, {}, {2}).ok());
  std::vector<double> update(kCount);
  ASSERT_TRUE(op->Commit(update.data(), true, [](size_t) {}).ok());
  EXPECT_EQ(update, gradients[2]);
  EXPECT_THAT(op->committed()->update_cosines,
              ::testing::ElementsAre(0, 0, ::testing::DoubleNear(1, 1e-12)));
}

TEST(ColumnMethods, OptionsOutOfRangeAreNamed) {
  const auto field = [](const CombinerOptions& options) {
    return GetErrorDetail(MakeCombiner(options, 3).status())->field;
  };
  EXPECT_EQ(field(TrimmedMeanOptions{2}), "combiner.trimmed_mean.trim_number");
  EXPECT_EQ(field(TrimmedMeanOptions{-1}), "combiner.trimmed_mean.trim_number");
  EXPECT_EQ(field(GradDropOptions{0, {0, 1}}), "combiner.graddrop.leak");
  EXPECT_EQ(field(GradDropOptions{0, {0, 1, 1.5}}),
            "combiner.graddrop.leak[2]");
  EXPECT_TRUE(MakeCombiner(TrimmedMeanOptions{1}, 3).ok());
}

TEST(ColumnMethods, UnderMomentumNeedOneVectorMore) {
  OperatorOptions options = ColumnOptions<float>(
      TrimmedMeanOptions{}, PseudoMomentumOptions{}, 3, 16 * 1024);
  const size_t with = MomentumOperator::MemoryBytes(options);
  options.combiner = MeanOptions{};
  EXPECT_EQ(with - MomentumOperator::MemoryBytes(options), 64 * 1024);
}

}  // namespace
}  // namespace concord
