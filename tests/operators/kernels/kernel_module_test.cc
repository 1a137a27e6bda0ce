// The modules of kernels are found, loaded and refused.
#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "operators/errors.h"
#include "operators/kernels/device_kernels.h"

namespace concord {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

#ifdef CONCORD_TORCH_MODULE
TEST(TorchModule, IsFoundBesideTheProgramOrInItsLibFolder) {
  const auto kernels = LoadTorchKernels("cpu");
  ASSERT_TRUE(kernels.ok()) << kernels.status();
  EXPECT_EQ((*kernels)->device(), "torch:cpu");
}

TEST(TorchModule, ThatIsMissingIsUnavailableAndNamesThePath) {
  const auto kernels = LoadTorchKernels("cpu", "/nowhere/libconcord_torch.so");
  EXPECT_EQ(kernels.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(kernels.status().message()),
              HasSubstr("/nowhere/libconcord_torch.so"));
}

TEST(TorchModule, ThatIsNoSharedObjectIsUnavailableAndNamesThePath) {
  const std::string path = ::testing::TempDir() + "/not_a_module.so";
  std::ofstream(path) << "text";
  const auto kernels = LoadTorchKernels("cpu", path);
  EXPECT_EQ(kernels.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(kernels.status().message()), HasSubstr(path));
}

TEST(TorchModule, RefusesADeviceThatLibTorchHasNoNameFor) {
  const auto kernels = LoadTorchKernels("toaster", CONCORD_TORCH_MODULE);
  EXPECT_EQ(kernels.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetErrorReason(kernels.status()), "INVALID_OPTION");
  const auto detail = GetErrorDetail(kernels.status());
  ASSERT_TRUE(detail.has_value());
  EXPECT_EQ(detail->field, "device");
  EXPECT_EQ(detail->value, "toaster");
}

// The 100th GPU is on no machine, so this holds with and without GPUs.
TEST(TorchModule, SaysWhichGpuIsNotThere) {
  const auto kernels = LoadTorchKernels("cuda:99", CONCORD_TORCH_MODULE);
  EXPECT_EQ(kernels.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(kernels.status().message()),
              AnyOf(HasSubstr("cuda:99"), HasSubstr("cannot be loaded")));
}

TEST(TorchModule, GivesAGpuOrSaysWhyThereIsNone) {
  const auto kernels = LoadTorchKernels("cuda", CONCORD_TORCH_MODULE);
  if (kernels.ok()) {
    EXPECT_EQ((*kernels)->device(), "cuda:0");
    EXPECT_FALSE((*kernels)->host_accessible());
  } else {
    EXPECT_EQ(kernels.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(kernels.status().message()),
                AnyOf(HasSubstr("CUDA"), HasSubstr("NVIDIA")));
    RecordProperty("message", std::string(kernels.status().message()));
  }
}

#endif

TEST(CudaModule, ThatIsMissingIsUnavailable) {
  const auto kernels = LoadCudaKernels("cuda", "/nowhere/libconcord_cuda.so");
  EXPECT_EQ(kernels.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(
      std::string(kernels.status().message()),
      AnyOf(HasSubstr("/nowhere/libconcord_cuda.so"), HasSubstr("NVIDIA")));
}

#ifdef CONCORD_WITH_CUDA
TEST(CudaModule, RefusesADeviceThatIsNoGpu) {
  for (const char* device : {"cpu", "gpu"}) {
    const auto kernels = LoadCudaKernels(device);
    EXPECT_EQ(kernels.status().code(), absl::StatusCode::kInvalidArgument);
    const auto detail = GetErrorDetail(kernels.status());
    ASSERT_TRUE(detail.has_value());
    EXPECT_EQ(detail->value, device);
    EXPECT_THAT(detail->accepted, HasSubstr("cuda:1"));
  }
}

// The 100th GPU is on no machine, so this holds with and without GPUs.
TEST(CudaModule, SaysWhichGpuIsNotThere) {
  const auto kernels = LoadCudaKernels("cuda:99");
  EXPECT_EQ(kernels.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(kernels.status().message()), HasSubstr("cuda:99"));
}
#endif

TEST(DeviceKernels, AreTheCudaModulesOrTorchsOrAnErrorThatSaysWhy) {
  const auto kernels = LoadDeviceKernels("cuda");
  if (kernels.ok()) {
    EXPECT_THAT((*kernels)->backend(), AnyOf("cuda", "torch"));
    EXPECT_EQ((*kernels)->device(), "cuda:0");
  } else {
    EXPECT_EQ(kernels.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(kernels.status().message()),
                AnyOf(HasSubstr("NVIDIA"), HasSubstr("CUDA")));
  }
}

}  // namespace
}  // namespace concord
