// Gradients that are kept whole until it is known what becomes of them: where
// several ranks bring the same loss, until it is known who counts; where a rank
// brings a sum of several vectors, until the last one is in. Then they are
// averaged and handed to the operator's Ingest, which uses them where they lie.
//
// A loss's vectors are averaged by weight in the order of their ranks,
//   r = sum_j (w_j / sum w) g_j
// in fp64 and rounded once: the same bits whatever the order of arrival. A
// single one is handed on as it is. A vector that is the sum of several is
// summed element by element in the vectors' own type, in the order in which
// they were appended.
//
// Memory: the operator's own staged rows where they are lent (then nobody else
// may stage), and what AddMemory has reserved. Vectors of a step that is
// ingested stay where they are until rows are opened for the next one.
//
// Threads: Append and Complete of different rows may run at the same time,
// everything else excludes all other calls.
#ifndef CONCORD_OPERATORS_MOMENTUM_GATHERED_ROWS_H_
#define CONCORD_OPERATORS_MOMENTUM_GATHERED_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "operators/kernels/kernels.h"
#include "operators/momentum/momentum_operator.h"

namespace concord {

class GatheredRows {
 public:
  // One rank's vector for one loss; owned by this object.
  class Row {
   public:
    int index() const { return index_; }

   private:
    friend class GatheredRows;
    int index_ = -1;  // -1: free.
    uint32_t rank_ = 0;
    double weight_ = 1;
    bool complete_ = false;
    bool adds_ = false;    // To the vector that is there.
    size_t received_ = 0;  // Bytes, of the vector that is arriving.
    void* memory_ = nullptr;
    int slot_ = -1;  // Of the operator's staged memory; -1: of our own.
    std::unique_ptr<DeviceMemory> arriving_;  // A piece of what is to be added.
    std::vector<double> squares_;             // [block]
  };

  // Neither is owned; both outlive the object. `lends`: the operator's staged
  // rows serve as the memory of one row of each loss.
  GatheredRows(MomentumOperator* op, Kernels* kernels, bool lends);

  // Device memory of this many more rows. RESOURCE_EXHAUSTED.
  absl::Status AddMemory(size_t rows);
  static size_t MemoryBytes(const OperatorOptions& options, size_t rows);
  // Rows that may be opened besides the lent ones.
  size_t free_rows() const { return free_.size(); }
  bool empty() const;

  // Opens a row of loss `index` of this rank. RESOURCE_EXHAUSTED without memory
  // for it.
  absl::StatusOr<Row*> Open(int index, uint32_t rank);
  // Among the rows of its loss; 1 to begin with. Finite, > 0.
  void SetWeight(Row* row, double weight) { row->weight_ = weight; }
  // What is appended next is another vector, to be added to the one that is
  // complete.
  absl::Status Add(Row* row);
  // As the operator's.
  absl::Status Append(Row* row, absl::Span<const std::byte> bytes);
  absl::Status Complete(Row* row);
  // Gives up a row; nothing where it is free already.
  void Drop(Row* row);

  // Averages the rows of each loss and ingests them; all rows, which must be
  // complete, are free then. The errors of Ingest; then nothing of it is
  // staged.
  absl::Status Ingest();

 private:
  size_t VectorBytes() const;
  // What is worked on at a time: a block, on a device as many as keep it busy.
  size_t PieceElements() const;
  size_t PieceBytes() const;
  // The piece of `row` that has just arrived is in its place.
  absl::Status FinishPiece(Row* row, size_t piece);
  // The loss's place among the operator's staged rows.
  int SlotOf(int index) const;
  absl::Status Average(absl::Span<Row* const> rows);

  MomentumOperator* const op_;
  Kernels* const kernels_;
  const Dtype dtype_;
  const size_t num_parameters_;
  const size_t blocks_;
  std::vector<std::unique_ptr<DeviceMemory>> memory_;
  std::vector<void*> free_;  // Of it.
  std::vector<std::unique_ptr<Row>> rows_;
  std::vector<int> slots_;  // [slot]: its loss, -1: none's.
};

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_GATHERED_ROWS_H_
