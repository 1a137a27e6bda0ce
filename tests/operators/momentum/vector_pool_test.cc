// Vectors go round: what is committed, staged and in a snapshot share a pool.
#include "operators/momentum/vector_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "operators/kernels/cpu_kernels.h"
#include "tests/operators/momentum/operator_under_test.h"

namespace concord {
namespace {

constexpr size_t kParameters = 5003;

OperatorOptions Options(MomentumOptions momentum, CombinerOptions combiner) {
  OperatorOptions options;
  options.num_vectors = 3;
  options.num_parameters = kParameters;
  options.momentum = momentum;
  options.combiner = combiner;
  return options;
}

std::unique_ptr<MomentumOperator> MakeOn(const OperatorOptions& options,
                                         OperatorStorage storage) {
  auto made =
      MomentumOperator::Create(options, MakeCpuKernels(1), std::move(storage));
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

OperatorStorage Keeping() {
  OperatorStorage storage;
  storage.keeps_committed = true;
  return storage;
}

// The same gradients of the same losses at the same step for every operator.
std::vector<float> StepOf(MomentumOperator* op, int step) {
  std::mt19937 random(step);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> gradients;
  std::vector<int> indexes;
  std::vector<const void*> pointers;
  for (int i = 0; i < 3; ++i) {
    if (step > 3 && (step + i) % 3 == 0) continue;
    gradients.emplace_back(kParameters);
    for (float& x : gradients.back()) x = normal(random);
    indexes.push_back(i);
  }
  for (const auto& gradient : gradients) pointers.push_back(gradient.data());
  std::vector<float> update(kParameters);
  EXPECT_TRUE(op->Ingest(indexes, pointers).ok());
  EXPECT_TRUE(op->Solve({}, {}).ok());
  EXPECT_TRUE(op->Commit(update.data(), true, [](size_t) {}).ok());
  return update;
}

std::vector<std::vector<std::byte>> Bytes(const OperatorSnapshot& snapshot) {
  std::vector<std::vector<std::byte>> all;
  for (const NamedVector& named : snapshot.vectors) {
    const auto* data = static_cast<const std::byte*>(named.vector->data());
    all.emplace_back(data, data + kParameters * sizeof(float));
  }
  return all;
}

struct Case {
  const char* name;
  MomentumOptions momentum;
  CombinerOptions combiner;
};

class EveryOperator : public testing::TestWithParam<Case> {
 protected:
  OperatorOptions options() const {
    return Options(GetParam().momentum, GetParam().combiner);
  }
};

INSTANTIATE_TEST_SUITE_P(
    Operators, EveryOperator,
    testing::Values(
        Case{"Pseudo", PseudoMomentumOptions(), ConFIGOptions()},
        Case{"PseudoOnColumns", PseudoMomentumOptions(), TrimmedMeanOptions()},
        Case{"Separate", SeparateMomentumOptions(), ConFIGOptions()},
        Case{"SeparateOnColumns", SeparateMomentumOptions(),
             TrimmedMeanOptions()}),
    [](const auto& info) { return info.param.name; });

TEST_P(EveryOperator, StepsGoOnBesideASnapshotWithTheSameBits) {
  auto op = MakeOn(options(), {});
  auto twin = MakeOn(options(), {});
  for (int step = 1; step <= 6; ++step) {
    EXPECT_EQ(StepOf(op.get(), step), StepOf(twin.get(), step));
  }
  auto snapshot = op->Snapshot();
  ASSERT_TRUE(snapshot.ok());
  const auto before = Bytes(*snapshot);
  for (int step = 7; step <= 12; ++step) {
    EXPECT_EQ(StepOf(op.get(), step), StepOf(twin.get(), step)) << step;
  }
  EXPECT_EQ(Bytes(*snapshot), before);
  EXPECT_EQ(snapshot->numbers.committed_steps, 6);
}

TEST_P(EveryOperator, WhoKeepsWhatIsCommittedComputesTheSameBits) {
  auto op = MakeOn(options(), Keeping());
  auto twin = MakeOn(options(), {});
  for (int step = 1; step <= 8; ++step) {
    EXPECT_EQ(StepOf(op.get(), step), StepOf(twin.get(), step)) << step;
  }
}

TEST_P(EveryOperator, NothingCommittedIsWrittenBeforeTheNextStepBegins) {
  auto op = MakeOn(options(), Keeping());
  for (int step = 1; step <= 5; ++step) StepOf(op.get(), step);
  // The addresses alone: the state is looked at without being held.
  std::vector<const void*> vectors;
  std::vector<std::vector<std::byte>> before;
  {
    auto snapshot = op->Snapshot();
    before = Bytes(*snapshot);
    for (const auto& named : snapshot->vectors) {
      vectors.push_back(named.vector->data());
    }
  }
  StepOf(op.get(), 6);
  for (size_t i = 0; i < vectors.size(); ++i) {
    EXPECT_EQ(std::memcmp(vectors[i], before[i].data(), before[i].size()), 0)
        << i;
  }
}

TEST_P(EveryOperator, ASnapshotImportedGoesOnWithTheSameBits) {
  auto op = MakeOn(options(), {});
  for (int step = 1; step <= 5; ++step) StepOf(op.get(), step);
  auto other = MakeOn(options(), {});
  StepOf(other.get(), 77);
  {
    auto snapshot = op->Snapshot();
    std::vector<absl::Span<const std::byte>> vectors;
    for (const auto& named : snapshot->vectors) {
      vectors.emplace_back(static_cast<const std::byte*>(named.vector->data()),
                           kParameters * sizeof(float));
    }
    ASSERT_TRUE(other->Import(snapshot->numbers, vectors).ok());
  }
  std::vector<float> again(kParameters);
  ASSERT_TRUE(other->Recompute(again.data()).ok());
  for (int step = 6; step <= 9; ++step) {
    EXPECT_EQ(StepOf(op.get(), step), StepOf(other.get(), step));
  }
}

TEST(NoMomentum, RecomputesItsUpdateWhereItKeepsIt) {
  const OperatorOptions options = Options(NoMomentumOptions(), ConFIGOptions());
  auto op = MakeOn(options, Keeping());
  const std::vector<float> update = StepOf(op.get(), 1);
  std::vector<float> again(kParameters);
  ASSERT_TRUE(op->Recompute(again.data()).ok());
  EXPECT_EQ(again, update);
  EXPECT_EQ(MakeOn(options, {})->Recompute(again.data()).code(),
            absl::StatusCode::kUnimplemented);
}

TEST(VectorPool, FreesWhatASnapshotMadeItAllocate) {
  const auto pool = VectorPool::Make(DeviceVectors(MakeCpuKernels(1), 4096), 2);
  ASSERT_TRUE(pool->Fill().ok());
  EXPECT_EQ(pool->allocated(), 2);
  auto first = pool->Take();
  auto second = pool->Take();
  auto third = pool->Take();
  EXPECT_EQ((*third)->place(), 2);
  EXPECT_EQ(pool->allocated(), 3);
  first->reset();
  EXPECT_EQ(pool->allocated(), 2);
  third->reset();
  EXPECT_EQ(pool->allocated(), 2);
  EXPECT_EQ((*pool->Take())->place(), 2);
}

TEST(VectorPool, RefusesToClaimAPlaceThatIsTaken) {
  const auto pool = VectorPool::Make(DeviceVectors(MakeCpuKernels(1), 4096), 2);
  auto claimed = pool->Claim(1);
  ASSERT_TRUE(claimed.ok());
  EXPECT_EQ(pool->Claim(1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*pool->Take())->place(), 0);
}

}  // namespace
}  // namespace concord
