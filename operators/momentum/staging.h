// The rows of a step while they arrive: their new vectors, and the dot products
// with all other rows, taken block by block as the data comes in.
//
// For every staged row i and block b three kinds of partial dot products are
// kept: with itself, with the committed row j, and with the staged row j where
// that row's block b was complete before. Which of them a step needs is known
// only when its last row is in (losses arrive in any order, also at the same
// time, and may be dropped again); Gram() sums the right ones in block order
// and computes the few that nobody had taken. A partial product is the same
// number whoever computes it, so the Gram matrix has the same bits whatever the
// order of arrival.
//
// Threads: Append and Complete of different rows may run at the same time,
// everything else excludes all other calls (the lock inside makes Stage and
// Drop safe beside Append).
#ifndef CONCORD_OPERATORS_MOMENTUM_STAGING_H_
#define CONCORD_OPERATORS_MOMENTUM_STAGING_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "Eigen/Core"
#include "absl/base/thread_annotations.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "operators/kernels/kernels.h"
#include "operators/momentum/momentum_operator.h"
#include "operators/momentum/row_passes.h"

namespace concord {

class Staging {
 public:
  struct Shape {
    Dtype dtype = Dtype::kFloat32;
    size_t num_parameters = 0;
    int num_vectors = 0;
    int max_rows = 0;   // k
    double beta_1 = 0;  // With momentum.
    double beta_2 = 0;  // Of separate second momenta.
    // Rows are rescaled momenta: a slot has memory for both, and what is
    // multiplied with other rows is made of them, a few blocks at a time.
    bool separate = false;
  };

  // The committed rows that new ones are built on; none for an operator without
  // momentum.
  using CommittedRows = StoredRows;

  class Row : public MomentumOperator::StagedRow {
   public:
    int index() const override { return index_; }
    size_t bytes_received() const override { return received_; }
    int slot() const { return slot_; }
    // The new vector: staged memory, or the caller's own.
    const void* vector() const { return vector_; }
    // With separate momenta: what makes the row of the vector.
    const Rescaling& rescaling() const { return rescaling_; }
    // |gradient|^2 with separate momenta.
    double gradient_square() const;

   private:
    friend class Staging;
    int slot_ = 0;
    int index_ = -1;  // -1: free.
    uint32_t id_ = 0;
    bool complete_ = false;
    size_t received_ = 0;
    void* memory_ = nullptr;
    const void* vector_ = nullptr;
    void* second_memory_ = nullptr;
    Rescaling rescaling_;
    std::vector<double> gradient_;           // [block], with separate momenta.
    std::unique_ptr<DeviceMemory> scratch_;  // num_vectors pieces.
    // Blocks whose new values are in place, for the other rows' threads.
    std::atomic<size_t> frontier_{0};
    std::vector<double> self_;                         // [block]
    std::vector<std::vector<double>> committed_;       // [j][block]
    std::vector<std::vector<uint8_t>> has_committed_;  // [j][block]
    std::vector<std::vector<double>> staged_;          // [slot][block]
    std::vector<std::vector<uint32_t>> staged_id_;  // [slot][block], 0: none.
  };

  Staging(const Shape& shape, Kernels* kernels);

  // The memory of slot `slot`: one vector on the device, with separate momenta
  // a second one. Set before rows are staged, exchanged at a commit (the old
  // momentum becomes the next slot).
  void SetMemory(int slot, void* memory, void* second = nullptr);
  void* memory(int slot) const ABSL_LOCKS_EXCLUDED(mutex_);

  // With separate momenta, before rows are staged: the memory for rows in the
  // making, and the factors of the row that loss `index`'s next update makes.
  absl::Status AllocateScratch();
  void SetNextScales(int index, double scale, double second_scale);

  // Nothing may be staged.
  void SetBetas(double beta_1, double beta_2);
  bool empty() const ABSL_LOCKS_EXCLUDED(mutex_);

  absl::StatusOr<Row*> Stage(int index) ABSL_LOCKS_EXCLUDED(mutex_);
  void Drop(Row* row) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Append(Row* row, absl::Span<const std::byte> bytes,
                      CommittedRows committed) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Complete(Row* row, CommittedRows committed)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Ingest(absl::Span<const int> indexes,
                      absl::Span<const void* const> gradients,
                      std::optional<HalfType> gradient_type,
                      CommittedRows committed) ABSL_LOCKS_EXCLUDED(mutex_);
  void Reset() ABSL_LOCKS_EXCLUDED(mutex_);

  // Staged rows by index; INTERNAL when one of them is not complete.
  absl::StatusOr<std::vector<Row*>> CompleteRows() ABSL_LOCKS_EXCLUDED(mutex_);

  // The Gram matrix of rows 0 … m-1 with the staged ones in their new place:
  // `gram`, of the committed rows, with the staged rows' entries replaced.
  absl::StatusOr<Eigen::MatrixXd> Gram(absl::Span<Row* const> rows,
                                       CommittedRows committed,
                                       const Eigen::MatrixXd& gram);

  // Blocks of a vector.
  size_t blocks() const { return blocks_; }

 private:
  size_t BlockBytes() const;
  size_t VectorBytes() const;
  Row* Find(int index) ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Row*> StageLocked(int index)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Free(Row* row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The others that blocks up to `end` of the row are to be multiplied with,
  // and where the products go.
  struct Others {
    absl::InlinedVector<const void*, 8> vectors;
    absl::InlinedVector<Rescaling, 8> rescalings;
    absl::InlinedVector<double*, 8> products;
  };
  Others OthersOf(Row* row, size_t begin, size_t end, CommittedRows committed)
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Makes `vector`'s row of `count` elements from `offset` bytes on in the
  // scratch memory's piece `piece`.
  absl::StatusOr<const void*> MakeRow(const Row& row, size_t piece,
                                      const void* vector,
                                      const Rescaling& rescaling, size_t offset,
                                      size_t count) const;
  // Elements of a gradient from a block's begin on, or, with `data` the row's
  // own memory, from the vector's.
  struct Gradient {
    const void* data = nullptr;
    std::optional<HalfType> type = std::nullopt;  // Not set: the vectors'.
  };
  size_t BytesOf(const Gradient& gradient) const;  // Of a block.
  absl::Status IngestSeparate(Row* row, Gradient gradient, size_t begin,
                              size_t end, CommittedRows committed)
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Blocks [begin, end) of the row's gradient have arrived: writes the new
  // vector, takes the dot products, moves the frontier.
  absl::Status IngestBlocks(Row* row, Gradient gradient, size_t begin,
                            size_t end, CommittedRows committed)
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // How many blocks of a gradient's next bytes the passes may read where they
  // lie, each element once; 0: they are copied first.
  size_t BlocksInPlace(const Row& row, absl::Span<const std::byte> bytes,
                       const CommittedRows& committed) const;
  absl::Status CheckFinite(const Row& row) const;
  absl::Status AppendOnDevice(Row* row, absl::Span<const std::byte> bytes,
                              CommittedRows committed);
  // Adds the row's products with another one in blocks [begin, end) to `sum`,
  // in index order.
  absl::Status PairDots(const Row& row, const void* other,
                        const Rescaling& rescaling, size_t begin, size_t end,
                        double* sum);

  Shape shape_;
  Kernels* const kernels_;
  const size_t blocks_;

  std::vector<Rescaling> next_;  // By index: scale and second_scale alone.
  mutable absl::Mutex mutex_;
  uint32_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  // Which rows are staged is guarded by the mutex; what is in a row belongs to
  // the thread that appends to it.
  std::vector<std::unique_ptr<Row>> slots_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_STAGING_H_
