// What becomes of an operator's state when the parameters in its vectors
// change.
#include "operators/momentum/layout.h"

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/kernels/far_kernels.h"
#include "tests/operators/momentum/operator_under_test.h"
#include "tests/operators/plain_momentum.h"
#include "tests/operators/random_vectors.h"

namespace concord {
namespace {

constexpr int kLosses = 3;

std::string Spell(const LayoutChange& change) {
  return absl::StrJoin(
      change.runs, " ", [](std::string* out, const LayoutChange::Run& run) {
        absl::StrAppend(out, run.from, ">", run.to, "x", run.count);
      });
}

TEST(MatchLayouts, NeighboursThatStayNeighboursAreOneRun) {
  const LayoutSegments old = {{"a", {2, 3}}, {"b", {4}}, {"c", {}}, {"d", {5}}};
  const auto runs = [&](const LayoutSegments& layout) {
    const auto change = MatchLayouts(old, layout);
    EXPECT_TRUE(change.ok()) << change.status();
    EXPECT_EQ(change->old_parameters, 16);
    EXPECT_EQ(change->new_parameters, NumParameters(layout));
    return Spell(*change);
  };
  EXPECT_EQ(runs(old), "0>0x16");
  // A scalar has one element; an empty segment none, and parts nobody.
  EXPECT_EQ(runs({{"a", {2, 3}}, {"b", {4}}, {"e", {0}}, {"c", {}}}), "0>0x11");
  EXPECT_EQ(runs({{"d", {5}}, {"a", {2, 3}}, {"b", {4}}}), "11>0x5 0>5x10");
  EXPECT_EQ(runs({{"new", {7}}, {"b", {4}}, {"other", {1}}, {"c", {}}}),
            "6>7x4 10>12x1");
  EXPECT_EQ(runs({{"new", {7}}}), "");
}

TEST(MatchLayouts, WhatCannotBeMatchedIsRefusedByItsSegment) {
  const LayoutSegments good = {{"a", {2}}, {"b", {3}}};
  struct Case {
    LayoutSegments previous, layout;
    const char* field;
    const char* value;
  };
  const size_t huge = size_t{1} << 40;
  const Case cases[] = {
      {good, {{"a", {2}}, {"b", {4}}}, "layout.segments[1].shape", "\"b\" (4)"},
      {good, {{"a", {1, 2}}}, "layout.segments[0].shape", "\"a\" (1, 2)"},
      {good, {{"b", {3}}, {"b", {3}}}, "layout.segments[1].name", "b"},
      {{{"a", {2}}, {"a", {2}}}, good, "previous.segments[1].name", "a"},
      {good, {{"", {2}}}, "layout.segments[0].name", "\"\""},
      {good, {}, "layout", "no segments"},
      {{}, good, "previous", "no segments"},
      {good, {{"z", {0, 3}}}, "layout", "no elements, or too many"},
      {good, {{"z", {huge, huge}}}, "layout", "no elements, or too many"},
  };
  for (const Case& one : cases) {
    const absl::Status status = MatchLayouts(one.previous, one.layout).status();
    const auto detail = GetErrorDetail(status);
    ASSERT_TRUE(detail.has_value()) << one.field;
    EXPECT_EQ(detail->reason, "INVALID_OPTION");
    EXPECT_EQ(detail->field, one.field);
    EXPECT_EQ(detail->value, one.value);
  }
}

struct Case {
  const char* name;
  MomentumOptions momentum;
  CombinerOptions combiner;
  bool far = false;
};

class MoveStateTest : public testing::TestWithParam<Case> {
 protected:
  static OperatorOptions OptionsOf(size_t n) {
    OperatorOptions options = Options<float>(kLosses, n);
    options.momentum = GetParam().momentum;
    options.combiner = GetParam().combiner;
    return options;
  }
  static std::shared_ptr<Kernels> MakeKernels() {
    return GetParam().far ? MakeFarKernels(2) : MakeCpuKernels(2);
  }
  // `op`'s state under another layout.
  std::unique_ptr<MomentumOperator> Moved(MomentumOperator* op,
                                          const LayoutSegments& previous,
                                          const LayoutSegments& layout) {
    const auto change = MatchLayouts(previous, layout);
    EXPECT_TRUE(change.ok()) << change.status();
    auto made =
        MomentumOperator::Create(OptionsOf(change->new_parameters), kernels_);
    EXPECT_TRUE(made.ok()) << made.status();
    const absl::Status moved =
        MoveState(*change, op, made->get(), kernels_.get());
    EXPECT_TRUE(moved.ok()) << moved;
    return *std::move(made);
  }
  std::unique_ptr<MomentumOperator> New(size_t n) {
    auto made = MomentumOperator::Create(OptionsOf(n), kernels_);
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }
  // A step with gradients that arrive in pieces, as they do from anywhere.
  std::vector<float> Step(MomentumOperator* op, const std::vector<int>& indexes,
                          unsigned seed) {
    const size_t n = op->options().num_parameters;
    for (const int index : indexes) {
      const auto row = op->Stage(index);
      EXPECT_TRUE(row.ok()) << row.status();
      EXPECT_TRUE(
          op->Append(*row, Bytes(SeededVector<float>(n, seed + index))).ok());
      EXPECT_TRUE(op->Complete(*row).ok());
    }
    EXPECT_TRUE(op->Solve({}, {}).ok());
    auto memory = kernels_->Allocate(n * sizeof(float));
    EXPECT_TRUE(memory.ok());
    EXPECT_TRUE(op->Commit((*memory)->data(), false, [](size_t) {}).ok());
    std::vector<float> update(n);
    EXPECT_TRUE(
        kernels_
            ->CopyToHost(update.data(), (*memory)->data(), n * sizeof(float))
            .ok());
    return update;
  }

  const std::shared_ptr<Kernels> kernels_ = MakeKernels();
};

INSTANTIATE_TEST_SUITE_P(
    Operators, MoveStateTest,
    testing::Values(
        Case{"pseudo", PseudoMomentumOptions{}, ConFIGOptions{}},
        Case{"separate", SeparateMomentumOptions{}, ConFIGOptions{}},
        Case{"columns", PseudoMomentumOptions{}, TrimmedMeanOptions{}},
        Case{"separate_columns", SeparateMomentumOptions{},
             TrimmedMeanOptions{}},
        Case{"state", PseudoMomentumOptions{}, CRMOGMOptions{}},
        Case{"far", PseudoMomentumOptions{}, ConFIGOptions{}, true},
        Case{"far_separate", SeparateMomentumOptions{}, ConFIGOptions{}, true}),
    [](const auto& info) { return info.param.name; });

TEST_P(MoveStateTest, OfTheSameLayoutChangesNoBitNowOrLater) {
  for (const size_t n : {size_t{5}, size_t{4096}, size_t{70'001}}) {
    const LayoutSegments layout = {{"a", {2}}, {"b", {n - 2}}};
    auto op = New(n);
    for (int step = 0; step < 5; ++step) {
      Step(op.get(),
           step < 2 ? std::vector<int>{0, 1, 2} : std::vector<int>{step % 3},
           step * 10);
    }
    auto moved = Moved(op.get(), layout, layout);
    const auto before = op->Export(), after = moved->Export();
    ASSERT_TRUE(before.ok() && after.ok());
    // Taken from the vectors alone it is what the steps have made it.
    EXPECT_EQ(before->gram, after->gram) << n;
    EXPECT_EQ(before->momenta, after->momenta);
    EXPECT_EQ(before->others, after->others);
    for (int step = 5; step < 9; ++step) {
      EXPECT_TRUE(SameBits(Step(op.get(), {step % 3}, step * 10),
                           Step(moved.get(), {step % 3}, step * 10)))
          << n << " " << step;
    }
  }
}

TEST_P(MoveStateTest, ByNameEveryVectorKeepsTheBitsOfWhatStays) {
  const size_t a = 4099, b = 10'000, c = 17, d = 8193;
  const LayoutSegments old = {{"a", {a}}, {"b", {b}}, {"c", {c}}};
  const LayoutSegments layout = {{"c", {c}}, {"d", {d}}, {"a", {a}}};
  auto op = New(a + b + c);
  for (int step = 0; step < 3; ++step) {
    Step(op.get(), {0, 1, 2}, step * 10);
  }
  const auto before = op->Export();
  const auto after = Moved(op.get(), old, layout)->Export();
  ASSERT_TRUE(before.ok() && after.ok());
  const auto expected = [&](const std::vector<std::byte>& vector) {
    std::vector<std::byte> part(4 * (c + d + a), std::byte{0});
    std::memcpy(part.data(), vector.data() + 4 * (a + b), 4 * c);
    std::memcpy(part.data() + 4 * (c + d), vector.data(), 4 * a);
    return part;
  };
  ASSERT_EQ(before->momenta.size(), after->momenta.size());
  ASSERT_EQ(before->others.size(), after->others.size());
  for (size_t i = 0; i < before->momenta.size(); ++i) {
    EXPECT_EQ(after->momenta[i], expected(before->momenta[i])) << i;
  }
  for (size_t i = 0; i < before->others.size(); ++i) {
    EXPECT_EQ(after->others[i], expected(before->others[i])) << i;
  }
  EXPECT_EQ(after->updates, before->updates);
  EXPECT_EQ(after->live_steps, before->live_steps);
  EXPECT_EQ(after->committed_steps, before->committed_steps);
  EXPECT_EQ(after->previous, before->previous);
  EXPECT_EQ(after->combiner, before->combiner);
}

TEST(MoveState, OfAnotherLengthIsRefusedAndTheOperatorIsAsItWas) {
  auto op = Make(Options<float>(2, 100));
  auto to = Make(Options<float>(2, 50));
  const auto change =
      MatchLayouts(LayoutSegments{{"a", {99}}}, LayoutSegments{{"a", {99}}});
  ASSERT_TRUE(change.ok());
  const absl::Status status =
      MoveState(*change, op.get(), to.get(), MakeCpuKernels(1).get());
  EXPECT_EQ(GetErrorDetail(status)->field, "previous");
}

TEST(MoveState, WithoutMomentumThereIsNothingToMove) {
  OperatorOptions options = Options<float>(2, 100);
  options.momentum = NoMomentumOptions{};
  auto op = Make(options);
  Step<float>(op.get(), {0, 1},
              {SeededVector<float>(100, 1), SeededVector<float>(100, 2)});
  options.num_parameters = 40;
  auto to = Make(options);
  const auto change = MatchLayouts(LayoutSegments{{"a", {40}}, {"b", {60}}},
                                   LayoutSegments{{"a", {40}}});
  ASSERT_TRUE(change.ok());
  ASSERT_TRUE(
      MoveState(*change, op.get(), to.get(), MakeCpuKernels(1).get()).ok());
  EXPECT_EQ(to->committed_steps(), 1);
  EXPECT_EQ(Step<float>(to.get(), {0}, {SeededVector<float>(40, 3)}).size(),
            40);
}

// Half of the network is frozen at step 20 and back at step 40, in another
// order, against the plain formulas on whole vectors.
TEST(MoveState, FreezingAndUnfreezingFollowsThePlainFormulas) {
  const size_t a = 300, b = 200;
  const LayoutSegments whole = {{"a", {a}}, {"b", {b}}};
  const LayoutSegments half = {{"a", {a}}};
  const LayoutSegments turned = {{"b", {b}}, {"a", {a}}};
  auto kernels = MakeCpuKernels(1);
  auto op = Make(Options<double>(kLosses, a + b));
  PlainMomentum plain(kLosses, a + b, 0.9, 0.999);
  const auto change_to = [&](const LayoutSegments& from,
                             const LayoutSegments& to) {
    const auto change = MatchLayouts(from, to);
    ASSERT_TRUE(change.ok()) << change.status();
    auto moved = Make(Options<double>(kLosses, change->new_parameters));
    ASSERT_TRUE(MoveState(*change, op.get(), moved.get(), kernels.get()).ok());
    op = std::move(moved);
  };
  for (int step = 1; step <= 60; ++step) {
    if (step == 20) {
      change_to(whole, half);
      std::vector<Eigen::Index> places(a);
      for (size_t e = 0; e < a; ++e) places[e] = e;
      plain.Rearrange(places);
    }
    if (step == 40) {
      change_to(half, turned);
      std::vector<Eigen::Index> places(b, -1);
      for (size_t e = 0; e < a; ++e) places.push_back(e);
      plain.Rearrange(places);
    }
    const size_t n = op->options().num_parameters;
    const std::vector<int> indexes =
        step < 3 ? std::vector<int>{0, 1, 2} : std::vector<int>{step % 3};
    std::vector<std::vector<double>> gradients;
    Eigen::MatrixXd rows(indexes.size(), n);
    for (size_t i = 0; i < indexes.size(); ++i) {
      gradients.push_back(SeededVector<double>(n, step * 10 + indexes[i]));
      for (size_t e = 0; e < n; ++e) rows(i, e) = gradients[i][e];
    }
    const std::vector<double> update =
        Step<double>(op.get(), indexes, gradients);
    const Eigen::VectorXd expected = plain.Step(indexes, rows);
    const Eigen::Map<const Eigen::VectorXd> found(update.data(), n);
    EXPECT_LT((found - expected).norm(), 1e-10 * std::max(1.0, expected.norm()))
        << step;
  }
}

}  // namespace
}  // namespace concord
