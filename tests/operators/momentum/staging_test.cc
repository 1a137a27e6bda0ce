// Rows that arrive in pieces, in any order, from several threads.
#include "operators/momentum/staging.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <thread>

#include "absl/algorithm/container.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "tests/operators/momentum/operator_under_test.h"
#include "tests/operators/random_vectors.h"

namespace concord {
namespace {

constexpr int kVectors = 4;
constexpr size_t kParameters = 50021;

class StagingTest : public ::testing::Test {
 protected:
  StagingTest() {
    for (int step = 0; step < kSteps; ++step) {
      gradients_.emplace_back();
      for (int i = 0; i < kVectors; ++i) {
        gradients_.back().push_back(RandomVector<float>(kParameters, &engine_));
      }
    }
    auto op = Make(Options<float>(kVectors, kParameters));
    for (int step = 0; step < kSteps; ++step) {
      expected_.push_back(Step<float>(op.get(), Indexes(step), Taken(step)));
    }
  }

  // Step 0 brings all losses, the others three of them.
  std::vector<int> Indexes(int step) const {
    std::vector<int> indexes;
    for (int i = 0; i < kVectors; ++i) {
      if (step == 0 || i != step % kVectors) indexes.push_back(i);
    }
    return indexes;
  }
  std::vector<std::vector<float>> Taken(int step) const {
    std::vector<std::vector<float>> taken;
    for (const int i : Indexes(step)) taken.push_back(gradients_[step][i]);
    return taken;
  }

  static constexpr int kSteps = 4;
  std::mt19937 engine_{99};
  std::vector<std::vector<std::vector<float>>> gradients_;
  std::vector<std::vector<float>> expected_;
};

TEST_F(StagingTest, PiecesOfEverySizeInAnyOrderGiveTheSameBits) {
  for (const size_t piece : {size_t{1021}, size_t{1024}, size_t{65536},
                             size_t{65537}, size_t{4} * kParameters}) {
    auto op = Make(Options<float>(kVectors, kParameters));
    for (int step = 0; step < kSteps; ++step) {
      std::vector<int> order = Indexes(step);
      std::shuffle(order.begin(), order.end(), engine_);
      std::vector<MomentumOperator::StagedRow*> rows;
      for (const int i : order) rows.push_back(*op->Stage(i));
      // Rows take turns at random, a piece each.
      std::vector<size_t> open(order.size());
      std::iota(open.begin(), open.end(), 0);
      while (!open.empty()) {
        const size_t pick =
            std::uniform_int_distribution<size_t>(0, open.size() - 1)(engine_);
        auto* row = rows[open[pick]];
        auto bytes = Bytes(gradients_[step][row->index()]);
        bytes.remove_prefix(row->bytes_received());
        ASSERT_TRUE(op->Append(row, bytes.subspan(0, piece)).ok());
        if (bytes.size() <= piece) open.erase(open.begin() + pick);
      }
      for (auto* row : rows) ASSERT_TRUE(op->Complete(row).ok());
      ASSERT_TRUE(SameBits(Finish<float>(op.get()), expected_[step]))
          << "pieces of " << piece << " bytes, step " << step;
    }
  }
}

TEST_F(StagingTest, BytesAtAnyAddressGiveTheSameBits) {
  for (const size_t shift : {0, 1, 2, 4}) {
    for (const int threads : {1, 3}) {
      auto op = Make(Options<float>(kVectors, kParameters), threads);
      for (int step = 0; step < kSteps; ++step) {
        std::vector<std::byte> memory(shift + sizeof(float) * kParameters);
        for (const int i : Indexes(step)) {
          absl::c_copy(Bytes(gradients_[step][i]), memory.begin() + shift);
          auto* row = *op->Stage(i);
          ASSERT_TRUE(
              op->Append(row, absl::MakeConstSpan(memory).subspan(shift)).ok());
          ASSERT_TRUE(op->Complete(row).ok());
        }
        ASSERT_TRUE(SameBits(Finish<float>(op.get()), expected_[step]))
            << "shifted by " << shift << ", step " << step;
      }
    }
  }
}

// What a client shares may change at any time; what was taken stays as it was.
TEST_F(StagingTest, BytesMayChangeOnceTheyAreTaken) {
  auto op = Make(Options<float>(kVectors, kParameters));
  for (int step = 0; step < kSteps; ++step) {
    for (const int i : Indexes(step)) {
      auto* row = *op->Stage(i);
      for (auto bytes = Bytes(gradients_[step][i]); !bytes.empty();) {
        std::vector<std::byte> memory(
            bytes.begin(),
            bytes.begin() + std::min<size_t>(70'000, bytes.size()));
        ASSERT_TRUE(op->Append(row, memory).ok());
        bytes.remove_prefix(memory.size());
        absl::c_fill(memory, std::byte{0xff});
      }
      ASSERT_TRUE(op->Complete(row).ok());
    }
    ASSERT_TRUE(SameBits(Finish<float>(op.get()), expected_[step])) << step;
  }
}

TEST_F(StagingTest, RowsFromSeveralThreadsGiveTheSameBits) {
  auto op = Make(Options<float>(kVectors, kParameters));
  for (int step = 0; step < kSteps; ++step) {
    std::vector<std::thread> threads;
    for (const int i : Indexes(step)) {
      auto* row = *op->Stage(i);
      threads.emplace_back([&, row, i] {
        auto bytes = Bytes(gradients_[step][i]);
        while (!bytes.empty()) {
          const auto piece = bytes.subspan(0, 5000);
          EXPECT_TRUE(op->Append(row, piece).ok());
          bytes.remove_prefix(piece.size());
        }
        EXPECT_TRUE(op->Complete(row).ok());
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_TRUE(SameBits(Finish<float>(op.get()), expected_[step]));
  }
}

TEST_F(StagingTest, ADroppedRowLeavesNoTrace) {
  auto op = Make(Options<float>(kVectors, kParameters));
  for (int step = 0; step < kSteps; ++step) {
    const std::vector<int> indexes = Indexes(step);
    // A first try of two rows: one is cut, both are dropped; other rows that
    // were staged meanwhile have taken products with them.
    auto* cut = *op->Stage(indexes[0]);
    ASSERT_TRUE(
        op->Append(cut,
                   Bytes(gradients_[(step + 1) % kSteps][0]).subspan(0, 90001))
            .ok());
    auto* whole = *op->Stage(indexes[1]);
    ASSERT_TRUE(op->Append(whole, Bytes(gradients_[step][indexes[1]])).ok());
    ASSERT_TRUE(op->Complete(whole).ok());
    EXPECT_EQ(GetErrorReason(op->Complete(cut)), "LENGTH_MISMATCH");
    op->Drop(cut);
    for (const int i : indexes) {
      if (i == indexes[1]) continue;
      auto* row = *op->Stage(i);
      ASSERT_TRUE(op->Append(row, Bytes(gradients_[step][i])).ok());
      ASSERT_TRUE(op->Complete(row).ok());
    }
    EXPECT_TRUE(SameBits(Finish<float>(op.get()), expected_[step])) << step;
  }
}

TEST_F(StagingTest, BytesBeyondTheEndAreRefused) {
  auto op = Make(Options<float>(kVectors, kParameters));
  auto* row = *op->Stage(0);
  ASSERT_TRUE(op->Append(row, Bytes(gradients_[0][0])).ok());
  const std::byte more[1] = {};
  EXPECT_EQ(GetErrorReason(op->Append(row, more)), "CHUNK_TOO_LARGE");
  EXPECT_EQ(row->bytes_received(), 4 * kParameters);
}

TEST_F(StagingTest, ANonFiniteElementIsNamed) {
  auto op = Make(Options<float>(kVectors, kParameters));
  auto gradient = gradients_[0][0];
  gradient[40000] = std::numeric_limits<float>::infinity();
  gradient[40001] = std::numeric_limits<float>::quiet_NaN();
  auto* row = *op->Stage(2);
  ASSERT_TRUE(op->Append(row, Bytes(gradient)).ok());
  const auto detail = GetErrorDetail(op->Complete(row));
  ASSERT_TRUE(detail.has_value());
  EXPECT_EQ(detail->reason, "NON_FINITE");
  EXPECT_EQ(detail->field, "vector 2[40000]");
}

}  // namespace
}  // namespace concord
