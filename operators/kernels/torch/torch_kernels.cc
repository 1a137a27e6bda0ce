// Kernels as ATen expressions: the same lines run on every device that LibTorch
// has. The one file of the project that sees LibTorch's headers.
//
// A range is worked off in slabs of whole blocks, a slab being a matrix with
// one block per row, so that a device sees few, long operations and the
// temporary fp64 tensors stay small beside the vectors.
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/Parallel.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "c10/core/DeviceGuard.h"
#include "c10/core/InferenceMode.h"
#include "c10/core/impl/LocalDispatchKeySet.h"
#include "c10/core/impl/VirtualGuardImpl.h"
#include "operators/dtype.h"
#include "operators/kernels/kernels.h"
#include "operators/kernels/module_factory.h"

#if __has_include("torch/headeronly/version.h")
#include "torch/headeronly/version.h"
#endif
#if defined(TORCH_VERSION_MAJOR) && \
    (TORCH_VERSION_MAJOR > 2 ||     \
     (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 11))
#include "c10/core/CachingDeviceAllocator.h"
#define CONCORD_TORCH_TELLS_MEMORY 1
#else
#define CONCORD_TORCH_TELLS_MEMORY 0
#endif

namespace concord {
namespace {

constexpr size_t kBlockElements = size_t{1} << 18;
// A slab's temporaries are this many elements of fp64 each: 32 MiB.
constexpr size_t kSlabBlocks = 16;

// Runs `body`; what it throws becomes a status.
template <typename Body>
absl::Status Guarded(Body&& body) {
  try {
    body();
    return absl::OkStatus();
  } catch (const c10::OutOfMemoryError& error) {
    return absl::ResourceExhaustedError(error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of host memory");
  } catch (const c10::Error& error) {
    return absl::InternalError(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  } catch (...) {
    return absl::InternalError("LibTorch threw an object of unknown type");
  }
}

// What every use of ATen here runs under. The thread may be one of Python's,
// with autograd, autocast or a dispatch mode switched on: none of them is to
// see these operations.
class Scope {
 public:
  explicit Scope(c10::Device device) : device_(device) {}

 private:
  c10::InferenceMode inference_;
  c10::impl::ExcludeDispatchKeyGuard plain_{c10::autocast_dispatch_keyset |
                                            c10::python_ks};
  c10::DeviceGuard device_;
};

class TensorMemory : public DeviceMemory {
 public:
  explicit TensorMemory(at::Tensor bytes) : bytes_(std::move(bytes)) {}
  void* data() const override { return bytes_.data_ptr(); }
  size_t size() const override { return static_cast<size_t>(bytes_.numel()); }

 private:
  at::Tensor bytes_;
};

// Consecutive whole blocks, or a vector's last, partial one.
struct Slab {
  size_t begin = 0;   // First element.
  size_t blocks = 0;  // Rows.
  size_t width = 0;   // Elements of one row.
};

// Calls `work(slab)` for the slabs of a range of `count` elements, in order.
template <typename Work>
void ForEachSlab(size_t count, Work&& work) {
  for (size_t begin = 0; begin < count;) {
    const size_t left = count - begin;
    Slab slab{begin, 1, left};
    if (left >= kBlockElements) {
      slab.blocks = std::min(left / kBlockElements, kSlabBlocks);
      slab.width = kBlockElements;
    }
    work(slab);
    begin += slab.blocks * slab.width;
  }
}

template <typename Number>
constexpr Number kLargestDenormal = std::numeric_limits<Number>::min() -
                                    std::numeric_limits<Number>::denorm_min();

// Denormals become zero, as on the cpu backend.
at::Tensor Flushed(const at::Tensor& values) {
  return at::hardshrink(values, values.scalar_type() == at::kFloat
                                    ? at::Scalar(kLargestDenormal<float>)
                                    : at::Scalar(kLargestDenormal<double>));
}

// Of a device that tells; earlier releases do not.
MemoryInfo ReadMemory(c10::Device device) {
  MemoryInfo memory;
#if CONCORD_TORCH_TELLS_MEMORY
  if (device.is_cpu()) return memory;
  const absl::Status status = Guarded([&] {
    const Scope scope(device);
    const auto [free, total] =
        c10::getDeviceAllocator(device.type())
            ->getMemoryInfo(std::max<c10::DeviceIndex>(device.index(), 0));
    memory = {.total_bytes = total, .free_bytes = free};
  });
  if (!status.ok()) return {};
#else
  (void)device;
#endif
  return memory;
}

class TorchKernels : public Kernels {
 public:
  explicit TorchKernels(c10::Device device) : device_(device) {}

  std::string device() const override {
    return device_.is_cpu() ? "torch:cpu" : device_.str();
  }
  std::string backend() const override { return "torch"; }
  int threads() const override {
    return device_.is_cpu() ? at::get_num_threads() : 1;
  }
  size_t block_elements() const override { return kBlockElements; }
  bool host_accessible() const override { return device_.is_cpu(); }
  MemoryInfo memory() const override { return ReadMemory(device_); }

  absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(
      size_t bytes) override {
    std::unique_ptr<DeviceMemory> memory;
    const absl::Status status = Guarded([&] {
      const Scope scope(device_);
      memory = std::make_unique<TensorMemory>(at::zeros(
          {static_cast<int64_t>(bytes)}, at::device(device_).dtype(at::kByte)));
    });
    if (!status.ok()) {
      return absl::ResourceExhaustedError(
          absl::StrCat(device(), ": ", bytes, " bytes: ", status.message()));
    }
    return memory;
  }

  absl::Status CopyFromHost(void* to, const void* from, size_t bytes) override {
    return Copy(to, device_, from, c10::kCPU, bytes);
  }

  absl::Status CopyToHost(void* to, const void* from, size_t bytes) override {
    return Copy(to, c10::kCPU, from, device_, bytes);
  }

  absl::Status CopyOnDevice(void* to, const void* from, size_t bytes) override {
    return Copy(to, device_, from, device_, bytes);
  }

  absl::Status Ingest(const IngestPass& pass) override {
    return Guarded([&] {
      const Scope scope(device_);
      at::Tensor dots = NewDots(pass.count, pass.rows.size());
      ForEachSlab(pass.count, [&](const Slab& slab) {
        at::Tensor vector =
            pass.gradient_type.has_value()
                ? WidenedView(pass.gradient, *pass.gradient_type, slab)
                : View(pass.gradient, pass.dtype, slab);
        if (pass.staged != nullptr) {
          at::Tensor staged = View(pass.staged, pass.dtype, slab);
          if (pass.momentum != nullptr) {
            staged.copy_(Flushed(View(pass.momentum, pass.dtype, slab)
                                     .to(at::kDouble)
                                     .mul(pass.beta_1)
                                     .add_(vector, 1 - pass.beta_1)
                                     .to(staged.scalar_type())));
          } else if (pass.staged != pass.gradient) {
            staged.copy_(vector);
          }
          vector = staged;
        }
        // Denormals weigh nothing in the dots: a row of them is a zero row.
        vector = Flushed(vector);
        WriteDots(vector, pass.rows, pass.dtype, slab, dots);
      });
      DotsToHost(dots, pass.dots);
      Synchronize();
    });
  }

  absl::Status Commit(const CommitPass& pass) override {
    return Guarded([&] {
      const Scope scope(device_);
      at::Tensor dots;
      if (pass.update_dots != nullptr) {
        dots = NewDots(pass.count, pass.rows.size());
      }
      ForEachSlab(pass.count, [&](const Slab& slab) {
        const at::Tensor update = UpdateOf(pass, slab);
        View(pass.update, pass.dtype, slab).copy_(update);
        if (pass.update_dots != nullptr) {
          WriteDots(update, pass.rows, pass.dtype, slab, dots);
        }
      });
      if (pass.update_dots != nullptr) DotsToHost(dots, pass.update_dots);
      Synchronize();
    });
  }

  absl::Status Separate(const SeparatePass& pass) override {
    return Guarded([&] {
      const Scope scope(device_);
      const at::ScalarType type = ScalarTypeOf(pass.dtype);
      ForEachSlab(pass.count, [&](const Slab& slab) {
        at::Tensor momentum = View(pass.momentum, pass.dtype, slab);
        at::Tensor second = View(pass.second, pass.dtype, slab);
        if (pass.gradient != nullptr) {
          const at::Tensor gradient =
              View(pass.gradient, pass.dtype, slab).to(at::kDouble);
          const at::Tensor moved = Flushed(momentum.to(at::kDouble)
                                               .mul(pass.beta_1)
                                               .add_(gradient, 1 - pass.beta_1)
                                               .to(type));
          const at::Tensor wide = second.to(at::kDouble);
          const at::Tensor moved_second = Flushed(
              wide.add(gradient.square().sub_(wide), 1 - pass.beta_2).to(type));
          momentum = View(pass.new_momentum, pass.dtype, slab).copy_(moved);
          second = View(pass.new_second, pass.dtype, slab).copy_(moved_second);
        }
        const at::Tensor scaled =
            momentum.to(at::kDouble).mul(pass.scale).to(type);
        View(pass.rescaled, pass.dtype, slab)
            .copy_(Flushed(scaled.div(
                second.mul(pass.second_scale).sqrt_().add_(pass.epsilon))));
      });
      Synchronize();
    });
  }

  absl::Status CombineColumns(const ColumnPass& pass) override {
    return Guarded([&] {
      const Scope scope(device_);
      ForEachSlab(pass.count, [&](const Slab& slab) {
        std::vector<at::Tensor> rows;
        for (size_t i = 0; i < pass.rows.size(); ++i) {
          rows.push_back(View(pass.rows[i], pass.dtype, slab)
                             .to(at::kDouble)
                             .mul(pass.scales[i]));
        }
        const at::Tensor values = at::stack(rows);
        const at::Tensor direction =
            std::holds_alternative<SignDropRule>(*pass.rule)
                ? SignDropped(values, std::get<SignDropRule>(*pass.rule),
                              pass.first + slab.begin)
                : TrimmedMeanOf(values,
                                std::get<TrimmedMeanRule>(*pass.rule).trim);
        View(pass.direction, pass.dtype, slab)
            .copy_(Flushed(direction.to(ScalarTypeOf(pass.dtype))));
      });
      Synchronize();
    });
  }

 private:
  static at::Tensor TrimmedMeanOf(const at::Tensor& values, int trim) {
    return std::get<0>(values.sort(0))
        .narrow(0, trim, values.size(0) - 2 * trim)
        .mean(0);
  }

  at::Tensor SignDropped(const at::Tensor& values, const SignDropRule& rule,
                         size_t first_column) const {
    const at::Tensor size = values.abs().sum(0);
    const at::Tensor positive =
        values.sum(0).div(size).add_(1).mul_(0.5).masked_fill_(size.eq(0), 0.5);
    const at::Tensor excess =
        positive.sub_(Uniforms(rule, first_column, size.sizes()));
    const at::Tensor leak =
        at::tensor(at::ArrayRef<double>(rule.leak), at::kDouble)
            .to(device_)
            .reshape({-1, 1, 1});
    const at::Tensor stays =
        excess.gt(0)
            .logical_and(values.gt(0))
            .logical_or_(excess.lt(0).logical_and(values.lt(0)));
    return at::where(stays, values, values.mul(leak)).sum(0);
  }

  // Philox4x32-10 as in counter_random.h, on the columns' counters at once:
  // 32-bit words in int64, whose products wrap as they should.
  at::Tensor Uniforms(const SignDropRule& rule, size_t first_column,
                      at::IntArrayRef sizes) const {
    constexpr int64_t kWord = 0xFFFFFFFF;
    const auto high = [](const at::Tensor& product) {
      return product.bitwise_right_shift(32).bitwise_and_(kWord);
    };
    const at::TensorOptions options = at::device(device_).dtype(at::kLong);
    int64_t count = 1;
    for (const int64_t size : sizes) count *= size;
    const auto first = static_cast<int64_t>(first_column);
    const at::Tensor columns = at::arange(first, first + count, options);
    const at::Tensor blocks = columns.bitwise_right_shift(2);
    const auto word = [&](uint64_t value) {
      return at::full_like(columns, static_cast<int64_t>(value & kWord));
    };
    at::Tensor c0 = word(rule.step), c1 = word(rule.step >> 32);
    at::Tensor c2 = high(blocks).bitwise_or_(int64_t{0x80000000});
    at::Tensor c3 = blocks.bitwise_and(kWord);
    uint32_t k0 = static_cast<uint32_t>(rule.seed);
    uint32_t k1 = static_cast<uint32_t>(rule.seed >> 32);
    for (int round = 0; round < 10; ++round) {
      const at::Tensor left = c0.mul(int64_t{0xD2511F53});
      const at::Tensor right = c2.mul(int64_t{0xCD9E8D57});
      c0 = high(right).bitwise_xor_(c1).bitwise_xor_(int64_t{k0});
      c1 = right.bitwise_and(kWord);
      c2 = high(left).bitwise_xor_(c3).bitwise_xor_(int64_t{k1});
      c3 = left.bitwise_and(kWord);
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    return at::stack({c0, c1, c2, c3})
        .gather(0, columns.bitwise_and(3).unsqueeze(0))
        .to(at::kDouble)
        .add_(0.5)
        .mul_(0x1p-32)
        .reshape(sizes);
  }

  static at::ScalarType ScalarTypeOf(Dtype dtype) {
    return dtype == Dtype::kFloat32 ? at::kFloat : at::kDouble;
  }

  // Memory as a tensor. The device is told, not asked for: looking it up costs
  // a call of the driver.
  static at::Tensor Blob(const void* data, at::IntArrayRef sizes,
                         at::ScalarType type, c10::Device device) {
    return at::for_blob(const_cast<void*>(data), sizes)
        .options(at::device(device).dtype(type))
        .target_device(device)
        .make_tensor();
  }

  absl::Status Copy(void* to, c10::Device to_device, const void* from,
                    c10::Device from_device, size_t bytes) {
    if (bytes == 0) return absl::OkStatus();
    return Guarded([&] {
      const Scope scope(device_);
      const int64_t size = static_cast<int64_t>(bytes);
      Blob(to, {size}, at::kByte, to_device)
          .copy_(Blob(from, {size}, at::kByte, from_device));
      Synchronize();
    });
  }

  at::Tensor View(const void* vector, Dtype dtype, const Slab& slab) const {
    return Blob(
        static_cast<const char*>(vector) + slab.begin * SizeOf(dtype),
        {static_cast<int64_t>(slab.blocks), static_cast<int64_t>(slab.width)},
        ScalarTypeOf(dtype), device_);
  }

  // A vector of 16-bit elements, in fp32.
  at::Tensor WidenedView(const void* vector, HalfType type,
                         const Slab& slab) const {
    return Blob(static_cast<const char*>(vector) + slab.begin * kHalfBytes,
                {static_cast<int64_t>(slab.blocks),
                 static_cast<int64_t>(slab.width)},
                type == HalfType::kBfloat16 ? at::kBFloat16 : at::kHalf,
                device_)
        .to(at::kFloat);
  }

  // sum_j coefficients[j] * rows[j] in fp64; added to `sum` where there is one.
  at::Tensor WeightedSum(absl::Span<const void* const> rows,
                         absl::Span<const double> coefficients, Dtype dtype,
                         const Slab& slab,
                         std::optional<at::Tensor> sum = std::nullopt) const {
    for (size_t j = 0; j < rows.size(); ++j) {
      const at::Tensor row = View(rows[j], dtype, slab);
      if (sum.has_value()) {
        sum->add_(row, coefficients[j]);
      } else {
        sum = row.to(at::kDouble).mul(coefficients[j]);
      }
    }
    if (sum.has_value()) return *sum;
    return at::zeros(
        {static_cast<int64_t>(slab.blocks), static_cast<int64_t>(slab.width)},
        at::device(device_).dtype(at::kDouble));
  }

  // One slab of the update; writes the second momentum where asked to.
  at::Tensor UpdateOf(const CommitPass& pass, const Slab& slab) const {
    const at::ScalarType type = ScalarTypeOf(pass.dtype);
    const at::Tensor r =
        WeightedSum(pass.rows, pass.direction, pass.dtype, slab).to(type);
    if (pass.second == nullptr) return Flushed(r);
    at::Tensor second = View(pass.second, pass.dtype, slab);
    if (pass.update_second) {
      const at::Tensor pseudo =
          WeightedSum(pass.previous_rows, pass.previous, pass.dtype, slab,
                      WeightedSum(pass.rows, pass.pseudo, pass.dtype, slab));
      const at::Tensor rounded = pseudo.to(type);
      const at::Tensor moved =
          Flushed(second.add(rounded.square().sub_(second), 1 - pass.beta_2));
      if (pass.new_second != nullptr) {
        second = View(pass.new_second, pass.dtype, slab);
      }
      second.copy_(moved);
    }
    return Flushed(
        r.div(second.mul(pass.correction).sqrt_().add_(pass.epsilon)));
  }

  at::Tensor NewDots(size_t count, size_t rows) const {
    return at::empty(
        {static_cast<int64_t>((count + kBlockElements - 1) / kBlockElements),
         static_cast<int64_t>(rows + 1)},
        at::device(device_).dtype(at::kDouble));
  }

  // The slab's rows of `dots`: <vector, vector>, then <vector, row> of every
  // row.
  void WriteDots(const at::Tensor& vector, absl::Span<const void* const> rows,
                 Dtype dtype, const Slab& slab, at::Tensor& dots) const {
    at::Tensor out =
        dots.narrow(0, static_cast<int64_t>(slab.begin / kBlockElements),
                    static_cast<int64_t>(slab.blocks));
    const at::Tensor wide = vector.to(at::kDouble);
    out.select(1, 0).copy_(wide.square().sum(1));
    for (size_t j = 0; j < rows.size(); ++j) {
      out.select(1, static_cast<int64_t>(j) + 1)
          .copy_(wide.mul(View(rows[j], dtype, slab)).sum(1));
    }
  }

  static void DotsToHost(const at::Tensor& dots, double* to) {
    if (dots.numel() == 0) return;
    Blob(to, dots.sizes(), at::kDouble, c10::kCPU).copy_(dots);
  }

  // Waits for everything put on this thread's stream: what a pass wrote may be
  // read by any thread, on any stream, once it has returned.
  void Synchronize() const {
    if (device_.is_cpu()) return;
    c10::impl::VirtualGuardImpl(device_.type())
        .getStream(device_)
        .synchronize();
  }

  const c10::Device device_;
};

// LibTorch's CUDA half is a library of its own that nothing links: it is opened
// from the folder where the half that is linked came from.
absl::Status LoadCudaHalf() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&at::get_num_threads), &info) == 0 ||
      info.dli_fname == nullptr) {
    return absl::UnavailableError("cannot tell where LibTorch was loaded from");
  }
  const std::string loaded(info.dli_fname);
  const std::string path =
      absl::StrCat(loaded.substr(0, loaded.rfind('/') + 1), "libtorch_cuda.so");
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return absl::UnavailableError(absl::StrCat(
        "this PyTorch's CUDA libraries cannot be loaded: ", dlerror()));
  }
  return absl::OkStatus();
}

absl::StatusOr<c10::Device> FindDevice(const std::string& name) {
  std::optional<c10::Device> device;
  absl::Status status = Guarded([&] { device.emplace(name); });
  if (!status.ok()) return absl::InvalidArgumentError(status.message());
  if (device->is_cpu()) return c10::Device(c10::kCPU);
  if (device->is_cuda()) {
    status = LoadCudaHalf();
    if (!status.ok()) return status;
  }
  int count = 0;
  status = Guarded([&] {
    at::globalContext().lazyInitDevice(device->type());
    count = c10::impl::VirtualGuardImpl(device->type()).deviceCount();
  });
  if (!status.ok()) {
    return absl::UnavailableError(
        absl::StrCat("device ", name, ": ", status.message()));
  }
  const int index = device->has_index() ? device->index() : 0;
  if (index >= count) {
    return absl::UnavailableError(
        absl::StrCat("device ", name, " is not there: this machine has ", count,
                     " of its kind"));
  }
  return c10::Device(device->type(), static_cast<c10::DeviceIndex>(index));
}

absl::StatusOr<std::unique_ptr<Kernels>> MakeTorchKernels(const char* device) {
  const absl::StatusOr<c10::Device> found = FindDevice(device);
  if (!found.ok()) return found.status();
  return std::make_unique<TorchKernels>(*found);
}

}  // namespace
}  // namespace concord

concord::Kernels* ConcordMakeKernels(int32_t version, const char* device,
                                     absl::Status* error) {
  return concord::MakeOfModule("torch", version, device, error,
                               concord::MakeTorchKernels);
}
