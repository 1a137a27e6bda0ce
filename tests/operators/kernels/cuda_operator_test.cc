// Whole runs on the cuda module's kernels have the bits of runs on the cpu.
#include <algorithm>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "gtest/gtest.h"
#include "operators/momentum/momentum_operator.h"
#include "tests/operators/kernels/cuda_fixture.h"
#include "tests/operators/random_vectors.h"

namespace concord {
namespace {

class CudaOperatorTest : public CudaTest {};
INSTANTIATE_TEST_SUITE_P(, CudaOperatorTest,
                         ::testing::Values(Where::kEmulated, Where::kGpu),
                         NameOf);

constexpr int kVectors = 4;
constexpr size_t kParameters = 2 * 4096 + 77;

// Every step brings other losses; the first one all of them.
std::vector<int> Indexes(int step) {
  std::vector<int> indexes;
  for (int i = 0; i < kVectors; ++i) {
    if (step == 0 || (i + step) % 3 != 0) indexes.push_back(i);
  }
  return indexes;
}

template <class T>
std::vector<T> Gradient(int step, int index) {
  return SeededVector<T>(kParameters, 100 * step + index, index + 1);
}

// Gradients on the device, or appended in pieces from the host.
enum class Way { kOnDevice, kInPieces };

template <class T>
void Bring(MomentumOperator* op, OnDevice* device, int step, Way way) {
  const std::vector<int> indexes = Indexes(step);
  absl::Status status;
  if (way == Way::kOnDevice) {
    std::vector<const void*> gradients;
    for (const int i : indexes) {
      gradients.push_back(device->Put(Gradient<T>(step, i)));
    }
    status = op->Ingest(indexes, gradients);
  }
  for (const int i : indexes) {
    if (way == Way::kOnDevice || !status.ok()) break;
    auto row = op->Stage(i);
    ASSERT_TRUE(row.ok()) << row.status();
    const std::vector<T> gradient = Gradient<T>(step, i);
    absl::Span<const std::byte> bytes = Bytes(gradient);
    while (!bytes.empty() && status.ok()) {
      const size_t count = std::min<size_t>(bytes.size(), 30'011);
      status = op->Append(*row, bytes.first(count));
      bytes.remove_prefix(count);
    }
    if (status.ok()) status = op->Complete(*row);
  }
  ASSERT_TRUE(status.ok()) << status;
}

// The updates of some steps, and the cosines of the last.
template <class T>
std::vector<std::vector<T>> Updates(const OperatorOptions& options,
                                    std::shared_ptr<Kernels> kernels, Way way,
                                    std::vector<double>* cosines) {
  std::vector<std::vector<T>> updates;
  auto op = MomentumOperator::Create(options, kernels);
  EXPECT_TRUE(op.ok()) << op.status();
  if (!op.ok()) return updates;
  for (int step = 0; step < 4; ++step) {
    OnDevice device(kernels.get(), 0);
    void* const update = device.Put(std::vector<T>(kParameters, 7));
    Bring<T>(op->get(), &device, step, way);
    absl::Status status = (*op)->Solve({}, {});
    if (status.ok()) {
      status = (*op)->Commit(update, step % 2 == 1, [](size_t) {});
    }
    EXPECT_TRUE(status.ok()) << status;
    updates.push_back(device.Get<T>(update, kParameters));
    if (std::holds_alternative<NoMomentumOptions>(options.momentum)) continue;
    EXPECT_TRUE((*op)->Recompute(update).ok());
    EXPECT_TRUE(Same(device.Get<T>(update, kParameters), updates.back()));
  }
  *cosines = (*op)->committed()->update_cosines;
  return updates;
}

template <class T>
void ExpectRunsLikeTheCpus(std::shared_ptr<Kernels> kernels,
                           std::shared_ptr<Kernels> cpu) {
  const MomentumOptions momenta[] = {
      PseudoMomentumOptions(), SeparateMomentumOptions(), NoMomentumOptions()};
  const CombinerOptions combiners[] = {ConFIGOptions(), GradDropOptions(),
                                       TrimmedMeanOptions()};
  for (const MomentumOptions& momentum : momenta) {
    for (const CombinerOptions& combiner : combiners) {
      for (const Way way : {Way::kOnDevice, Way::kInPieces}) {
        SCOPED_TRACE(::testing::Message()
                     << "momentum " << momentum.index() << ", combiner "
                     << combiner.index() << ", way " << static_cast<int>(way));
        OperatorOptions options;
        options.num_vectors = kVectors;
        options.num_parameters = kParameters;
        options.dtype = kDtype<T>;
        options.momentum = momentum;
        options.combiner = combiner;
        std::vector<double> found_cosines, cosines;
        const auto found = Updates<T>(options, kernels, way, &found_cosines);
        const auto expected = Updates<T>(options, cpu, way, &cosines);
        ASSERT_EQ(found.size(), expected.size());
        for (size_t step = 0; step < found.size(); ++step) {
          EXPECT_TRUE(Same(found[step], expected[step])) << "step " << step;
        }
        EXPECT_TRUE(Same(found_cosines, cosines));
        EXPECT_GT(cosines.size(), 0u);
      }
    }
  }
}

TEST_P(CudaOperatorTest, RunsOfFloat32HaveTheCpusBits) {
  ExpectRunsLikeTheCpus<float>(kernels_, cpu_);
}

TEST_P(CudaOperatorTest, RunsOfFloat64HaveTheCpusBits) {
  ExpectRunsLikeTheCpus<double>(kernels_, cpu_);
}

}  // namespace
}  // namespace concord
