// Kernels on an NVIDIA GPU: one fused kernel per pass (launch.cu), the cpu
// backend's bits.
#include <cuda_runtime_api.h>

#include <charconv>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "operators/kernels/cuda/arguments.h"
#include "operators/kernels/cuda/block_dots.h"
#include "operators/kernels/cuda/device_error.h"
#include "operators/kernels/cuda/lane.h"
#include "operators/kernels/cuda/launch.h"
#include "operators/kernels/kernels.h"
#include "operators/kernels/module_factory.h"

namespace concord {
namespace cuda {
namespace {

// Elements of a pass that fill the largest GPUs: two thread blocks on each of
// 256 multiprocessors.
constexpr size_t kPassElements = size_t{512} * kBlock;

size_t BlocksOf(size_t count) { return (count + kBlock - 1) / kBlock; }

class CudaMemory : public DeviceMemory {
 public:
  CudaMemory(int device, void* data, size_t size)
      : device_(device), data_(data), size_(size) {}
  ~CudaMemory() override {
    const CurrentDevice current(device_);
    cudaFree(data_);
  }
  void* data() const override { return data_; }
  size_t size() const override { return size_; }

 private:
  const int device_;
  void* const data_;
  const size_t size_;
};

class CudaKernels : public Kernels {
 public:
  explicit CudaKernels(int device) : device_(device) {}
  ~CudaKernels() override {
    const CurrentDevice current(device_);
    lanes_.reset();
  }

  absl::Status Open() {
    const CurrentDevice current(device_);
    return ToStatus(Prepare(), "the kernels of this build");
  }

  std::string device() const override { return absl::StrCat("cuda:", device_); }
  std::string backend() const override { return "cuda"; }
  int threads() const override { return 1; }
  size_t block_elements() const override { return kBlock; }
  size_t pass_elements() const override { return kPassElements; }
  bool host_accessible() const override { return false; }
  MemoryInfo memory() const override {
    const CurrentDevice current(device_);
    size_t free = 0;
    size_t total = 0;
    if (cudaMemGetInfo(&free, &total) != cudaSuccess) return {};
    return {.total_bytes = total, .free_bytes = free};
  }

  absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(
      size_t bytes) override {
    const CurrentDevice current(device_);
    void* data = nullptr;
    const cudaError_t error = cudaMalloc(&data, bytes);
    if (error != cudaSuccess) {
      return absl::ResourceExhaustedError(
          absl::StrCat(device(), ": ", bytes,
                       " bytes: ", ToStatus(error, "device memory").message()));
    }
    auto memory = std::make_unique<CudaMemory>(device_, data, bytes);
    const absl::Status status = OnLane([&](Lane& lane) {
      return Put(cudaMemsetAsync(data, 0, bytes, lane.stream()),
                 "zeroing memory", lane);
    });
    if (!status.ok()) return status;
    return memory;
  }

  absl::Status CopyFromHost(void* to, const void* from, size_t bytes) override {
    if (bytes == 0) return absl::OkStatus();
    return OnLane([&](Lane& lane) { return lane.CopyIn(to, from, bytes); });
  }
  absl::Status CopyToHost(void* to, const void* from, size_t bytes) override {
    if (bytes == 0) return absl::OkStatus();
    return OnLane([&](Lane& lane) { return lane.CopyOut(to, from, bytes); });
  }
  absl::Status CopyOnDevice(void* to, const void* from, size_t bytes) override {
    if (bytes == 0) return absl::OkStatus();
    return OnLane([&](Lane& lane) {
      return Put(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice,
                                 lane.stream()),
                 "a copy on the device", lane);
    });
  }

  absl::Status Ingest(const IngestPass& pass) override {
    return OnLane([&](Lane& lane) {
      return pass.dtype == Dtype::kFloat32 ? IngestOf<float>(pass, lane)
                                           : IngestOf<double>(pass, lane);
    });
  }
  absl::Status Commit(const CommitPass& pass) override {
    return OnLane([&](Lane& lane) {
      return pass.dtype == Dtype::kFloat32 ? CommitOf<float>(pass, lane)
                                           : CommitOf<double>(pass, lane);
    });
  }
  absl::Status Separate(const SeparatePass& pass) override {
    return OnLane([&](Lane& lane) {
      return pass.dtype == Dtype::kFloat32 ? SeparateOf<float>(pass, lane)
                                           : SeparateOf<double>(pass, lane);
    });
  }
  absl::Status CombineColumns(const ColumnPass& pass) override {
    return OnLane([&](Lane& lane) {
      return pass.dtype == Dtype::kFloat32 ? CombineOf<float>(pass, lane)
                                           : CombineOf<double>(pass, lane);
    });
  }

 private:
  template <class Body>
  absl::Status OnLane(const Body& body) {
    const CurrentDevice current(device_);
    const absl::StatusOr<Lanes::Handle> lane = lanes_->Take();
    if (!lane.ok()) return lane.status();
    return body(**lane);
  }

  // What was put on the lane's stream, to its end.
  static absl::Status Put(cudaError_t error, const char* what, Lane& lane) {
    const absl::Status status = ToStatus(error, what);
    return status.ok() ? lane.Wait() : status;
  }

  template <class Row>
  static absl::Status FillOf(const std::vector<Row>& rows, Lane& lane,
                             RowTable<Row>* table) {
    return Fill(rows, table, [&lane](const void* from, size_t bytes) {
      return lane.Upload(from, bytes);
    });
  }

  template <class T>
  static absl::Status IngestOf(const IngestPass& pass, Lane& lane) {
    if (pass.count == 0) return absl::OkStatus();
    const NewRow<T> row = RowOf<T>(pass);
    const std::vector<const void*> rows(pass.rows.begin(), pass.rows.end());
    RowTable<const void*> table;
    absl::Status status = FillOf(rows, lane, &table);
    if (!status.ok()) return status;
    const size_t dots = BlocksOf(pass.count) * (rows.size() + 1);
    const absl::StatusOr<double*> there = lane.Dots(dots);
    if (!there.ok()) return there.status();
    status = ToStatus(LaunchIngest<T>({lane.stream(), pass.count,
                                       IsAligned(row) && AreAligned(rows)},
                                      row, table, *there),
                      "an ingest");
    return status.ok() ? lane.FetchDots(pass.dots, dots) : status;
  }

  template <class T>
  static absl::Status CommitOf(const CommitPass& pass, Lane& lane) {
    if (pass.count == 0) return absl::OkStatus();
    NewUpdate<T> update = UpdateOf<T>(pass);
    const std::vector<CommitRow> rows = RowsOf<T>(pass);
    absl::Status status = FillOf(rows, lane, &update.rows);
    if (!status.ok()) return status;
    const Launch launch{lane.stream(), pass.count,
                        IsAligned(update) && AreAligned(rows)};
    if (pass.update_dots == nullptr) {
      return Put(LaunchCommit<T>(launch, update, nullptr), "a commit", lane);
    }
    const size_t dots = BlocksOf(pass.count) * (pass.rows.size() + 1);
    const absl::StatusOr<double*> there = lane.Dots(dots);
    if (!there.ok()) return there.status();
    status = ToStatus(LaunchCommit<T>(launch, update, *there), "a commit");
    return status.ok() ? lane.FetchDots(pass.update_dots, dots) : status;
  }

  template <class T>
  static absl::Status SeparateOf(const SeparatePass& pass, Lane& lane) {
    if (pass.count == 0) return absl::OkStatus();
    const SeparateMomenta<T> momenta = MomentaOf<T>(pass);
    return Put(LaunchSeparate<T>(
                   {lane.stream(), pass.count, IsAligned(momenta)}, momenta),
               "a pass of separate momenta", lane);
  }

  template <class T>
  static absl::Status CombineOf(const ColumnPass& pass, Lane& lane) {
    if (pass.count == 0) return absl::OkStatus();
    Columns<T> columns = ColumnsOf<T>(pass);
    const absl::Status status = FillOf(RowsOf(pass), lane, &columns.rows);
    if (!status.ok()) return status;
    return Put(LaunchColumns<T>({lane.stream(), pass.count, false}, columns),
               "a pass over columns", lane);
  }

  const int device_;
  std::unique_ptr<Lanes> lanes_ = std::make_unique<Lanes>();
};

// "cuda" or "cuda:1".
absl::StatusOr<int> FindDevice(absl::string_view name) {
  absl::string_view number = name;
  int index = 0;
  if (!absl::ConsumePrefix(&number, "cuda") ||
      (!number.empty() &&
       (!absl::ConsumePrefix(&number, ":") ||
        std::from_chars(number.data(), number.data() + number.size(), index)
                .ptr != number.data() + number.size() ||
        number.empty() || index < 0))) {
    return absl::InvalidArgumentError(
        absl::StrCat("no device of CUDA: ", name));
  }
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess && error != cudaErrorNoDevice) {
    return absl::UnavailableError(
        absl::StrCat("device ", name, ": ", ToStatus(error, "CUDA").message()));
  }
  if (index >= count) {
    return absl::UnavailableError(
        absl::StrCat("device ", name, " is not there: this machine has ", count,
                     " of its kind"));
  }
  return index;
}

absl::StatusOr<std::unique_ptr<Kernels>> MakeCudaKernels(
    absl::string_view name) {
  const absl::StatusOr<int> device = FindDevice(name);
  if (!device.ok()) return device.status();
  auto kernels = std::make_unique<CudaKernels>(*device);
  const absl::Status status = kernels->Open();
  if (!status.ok()) {
    return absl::UnavailableError(
        absl::StrCat("device ", name, ": ", status.message()));
  }
  return kernels;
}

}  // namespace
}  // namespace cuda
}  // namespace concord

concord::Kernels* ConcordMakeKernels(int32_t version, const char* device,
                                     absl::Status* error) {
  return concord::MakeOfModule("cuda", version, device, error,
                               concord::cuda::MakeCudaKernels);
}
