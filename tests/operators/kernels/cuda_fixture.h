// What the tests of the cuda module share: its code on the host, on a GPU where
// there is one, and vectors on either.
#ifndef CONCORD_TESTS_OPERATORS_KERNELS_CUDA_FIXTURE_H_
#define CONCORD_TESTS_OPERATORS_KERNELS_CUDA_FIXTURE_H_

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "gtest/gtest.h"
#include "operators/kernels/cpu_kernels.h"
#include "operators/kernels/device_kernels.h"
#include "operators/kernels/kernels.h"
#include "tests/operators/kernels/emulated_cuda.h"

namespace concord {

template <class T>
constexpr Dtype kDtype =
    std::is_same_v<T, float> ? Dtype::kFloat32 : Dtype::kFloat64;

// Numbers of many sizes, among them zeros of both signs, denormals, and such
// around the smallest normal one.
template <class T>
std::vector<T> MixedVector(size_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<T> normal;
  std::vector<T> vector(n);
  constexpr T kSmallest = std::numeric_limits<T>::min();
  for (T& value : vector) {
    const T number = normal(engine);
    switch (engine() % 16) {
      case 0:
        value = std::copysign(T{0}, number);
        break;
      case 1:
        value = number * kSmallest / 4;
        break;
      case 2:
        value = std::copysign(kSmallest, number);
        break;
      case 3:
        value = number * kSmallest * 4;
        break;
      case 4:
        value = number * std::sqrt(kSmallest);
        break;
      case 5:
        value = number * T{1e10};
        break;
      default:
        value = number;
    }
  }
  return vector;
}

// Equal bits, whatever a NaN is made of.
template <class T>
::testing::AssertionResult Same(const std::vector<T>& found,
                                const std::vector<T>& expected) {
  if (found.size() != expected.size()) {
    return ::testing::AssertionFailure() << found.size() << " elements";
  }
  for (size_t i = 0; i < found.size(); ++i) {
    if (std::memcmp(&found[i], &expected[i], sizeof(T)) == 0) continue;
    if (std::isnan(found[i]) && std::isnan(expected[i])) continue;
    return ::testing::AssertionFailure()
           << "element " << i << " of " << found.size() << " is "
           << std::hexfloat << found[i] << ", not " << expected[i];
  }
  return ::testing::AssertionSuccess();
}

// Vectors on the device of some kernels, `offset` bytes behind its alignment.
class OnDevice {
 public:
  OnDevice(Kernels* kernels, size_t offset)
      : kernels_(kernels), offset_(offset) {}

  template <class T>
  void* Put(const std::vector<T>& values) {
    const size_t bytes = values.size() * sizeof(T);
    auto memory = kernels_->Allocate(bytes + offset_ + 1);
    EXPECT_TRUE(memory.ok()) << memory.status();
    void* const data = static_cast<std::byte*>((*memory)->data()) + offset_;
    memory_.push_back(*std::move(memory));
    const absl::Status status =
        kernels_->CopyFromHost(data, values.data(), bytes);
    EXPECT_TRUE(status.ok()) << status;
    return data;
  }

  template <class T>
  std::vector<T> Get(const void* data, size_t count) const {
    std::vector<T> values(count);
    const absl::Status status =
        kernels_->CopyToHost(values.data(), data, count * sizeof(T));
    EXPECT_TRUE(status.ok()) << status;
    return values;
  }

 private:
  Kernels* const kernels_;
  const size_t offset_;
  std::vector<std::unique_ptr<DeviceMemory>> memory_;
};

inline size_t Blocks(const Kernels& kernels, size_t count) {
  return (count + kernels.block_elements() - 1) / kernels.block_elements();
}

enum class Where { kEmulated, kGpu };

inline std::string NameOf(const ::testing::TestParamInfo<Where>& where) {
  return where.param == Where::kEmulated ? "OnTheHost" : "OnAGpu";
}

class CudaTest : public ::testing::TestWithParam<Where> {
 protected:
  void SetUp() override {
    if (GetParam() == Where::kEmulated) {
      kernels_ = MakeEmulatedCuda();
      return;
    }
    auto kernels = LoadCudaKernels("cuda");
    if (!kernels.ok()) GTEST_SKIP() << kernels.status().message();
    kernels_ = *std::move(kernels);
  }

  std::shared_ptr<Kernels> kernels_;
  const std::shared_ptr<Kernels> cpu_ = MakeCpuKernels(1);
};

}  // namespace concord

#endif  // CONCORD_TESTS_OPERATORS_KERNELS_CUDA_FIXTURE_H_
