#include "tests/operators/kernels/emulated_cuda.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <vector>

#include "operators/kernels/cpu_kernels.h"
#include "operators/kernels/cuda/arguments.h"
#include "operators/kernels/cuda/block_dots.h"

namespace concord {
namespace cuda {
namespace {

// launch.cu's BlockWithDots.
template <class T, class Source, class Row>
void RunBlock(const Source& source, const RowTable<Row>& rows, int num_rows,
              bool aligned, size_t first, int count, double* dots) {
  // What a thread leaves unset must not be read by another.
  std::vector<double> shared(SharedBytes(num_rows) / sizeof(double),
                             std::numeric_limits<double>::signaling_NaN());
  int begin = 0;
  do {
    const Group group = GroupAt(begin, num_rows);
    std::array<double, kThreads> sums = {};
    for (int tile = 0; tile < count; tile += kTile) {
      for (int thread = 0; thread < kThreads; ++thread) {
        FillTile<T>(source, rows, group, aligned, first, count, tile, thread,
                    shared.data());
      }
      for (int thread = 0; thread < kThreads; ++thread) {
        sums[thread] =
            AddTile<T>(sums[thread], group, std::min(count - tile, kTile),
                       thread, shared.data());
      }
    }
    std::copy_n(sums.begin(), group.products() * kPartials, shared.begin());
    for (int thread = 0; thread < kThreads; ++thread) {
      AddPartials(group, thread, shared.data(), dots);
    }
    begin += kGroupRows;
  } while (begin < num_rows);
}

template <class T, class Source, class Row>
void RunBlocks(const Source& source, const RowTable<Row>& rows, int num_rows,
               bool aligned, size_t count, double* dots) {
  for (size_t first = 0; first < count; first += kBlock) {
    RunBlock<T>(source, rows, num_rows, aligned, first,
                static_cast<int>(std::min<size_t>(kBlock, count - first)),
                dots + first / kBlock * (num_rows + 1));
  }
}

// launch.cu's ForOwnElements: calls work(first, valid, wide).
template <class Work>
void ForElements(size_t count, bool aligned, const Work& work) {
  for (size_t first = 0; first < count; first += kElements) {
    const int valid =
        static_cast<int>(std::min<size_t>(kElements, count - first));
    work(first, valid, aligned && valid == kElements);
  }
}

absl::StatusOr<const void*> Here(const void* rows, size_t /*bytes*/) {
  return rows;
}

class EmulatedCuda : public Kernels {
 public:
  std::string device() const override { return "emulated"; }
  std::string backend() const override { return "cuda"; }
  int threads() const override { return 1; }
  size_t block_elements() const override { return kBlock; }
  bool host_accessible() const override { return true; }
  absl::StatusOr<std::unique_ptr<DeviceMemory>> Allocate(
      size_t bytes) override {
    return cpu_->Allocate(bytes);
  }
  absl::Status CopyFromHost(void* to, const void* from, size_t bytes) override {
    return cpu_->CopyFromHost(to, from, bytes);
  }
  absl::Status CopyToHost(void* to, const void* from, size_t bytes) override {
    return cpu_->CopyToHost(to, from, bytes);
  }
  absl::Status CopyOnDevice(void* to, const void* from, size_t bytes) override {
    return cpu_->CopyOnDevice(to, from, bytes);
  }

  absl::Status Ingest(const IngestPass& pass) override {
    return pass.dtype == Dtype::kFloat32 ? IngestOf<float>(pass)
                                         : IngestOf<double>(pass);
  }
  absl::Status Commit(const CommitPass& pass) override {
    return pass.dtype == Dtype::kFloat32 ? CommitOf<float>(pass)
                                         : CommitOf<double>(pass);
  }
  absl::Status Separate(const SeparatePass& pass) override {
    return pass.dtype == Dtype::kFloat32 ? SeparateOf<float>(pass)
                                         : SeparateOf<double>(pass);
  }
  absl::Status CombineColumns(const ColumnPass& pass) override {
    return pass.dtype == Dtype::kFloat32 ? CombineOf<float>(pass)
                                         : CombineOf<double>(pass);
  }

 private:
  template <class T>
  absl::Status IngestOf(const IngestPass& pass) {
    const NewRow<T> row = RowOf<T>(pass);
    const std::vector<const void*> rows(pass.rows.begin(), pass.rows.end());
    RowTable<const void*> table;
    const absl::Status status = Fill(rows, &table, Here);
    RunBlocks<T>(row, table, table.count, IsAligned(row) && AreAligned(rows),
                 pass.count, pass.dots);
    return status;
  }

  template <class T>
  absl::Status CommitOf(const CommitPass& pass) {
    NewUpdate<T> update = UpdateOf<T>(pass);
    const std::vector<CommitRow> rows = RowsOf<T>(pass);
    const absl::Status status = Fill(rows, &update.rows, Here);
    const bool aligned = IsAligned(update) && AreAligned(rows);
    if (pass.update_dots != nullptr) {
      RunBlocks<T>(update, update.rows, update.in_direction, aligned,
                   pass.count, pass.update_dots);
      return status;
    }
    ForElements(pass.count, aligned, [&](size_t first, int valid, bool wide) {
      double out[kElements];
      wide ? update.template Make<true>(first, valid, out)
           : update.template Make<false>(first, valid, out);
    });
    return status;
  }

  template <class T>
  absl::Status SeparateOf(const SeparatePass& pass) {
    const SeparateMomenta<T> momenta = MomentaOf<T>(pass);
    ForElements(pass.count, IsAligned(momenta),
                [&](size_t first, int valid, bool wide) {
                  wide ? momenta.template Make<true>(first, valid)
                       : momenta.template Make<false>(first, valid);
                });
    return absl::OkStatus();
  }

  template <class T>
  absl::Status CombineOf(const ColumnPass& pass) {
    Columns<T> columns = ColumnsOf<T>(pass);
    const std::vector<ColumnRow> rows = RowsOf(pass);
    const absl::Status status = Fill(rows, &columns.rows, Here);
    for (size_t e = 0; e < pass.count; ++e) columns.Make(e);
    return status;
  }

  const std::shared_ptr<Kernels> cpu_ = MakeCpuKernels(1);
};

}  // namespace
}  // namespace cuda

std::shared_ptr<Kernels> MakeEmulatedCuda() {
  return std::make_shared<cuda::EmulatedCuda>();
}

}  // namespace concord
