#include "server/session/combine_call.h"

#include <numeric>
#include <utility>

#include "operators/errors.h"
#include "server/session/committer.h"
#include "server/session/messages.h"
#include "server/session/options.h"
#include "server/session/write_update.h"

namespace concord {

struct CombineCall::Work {
  std::unique_ptr<MemoryBudget::Reservation> reservation;
  std::shared_ptr<Kernels> kernels;
  CommitterPool* committers = nullptr;
  std::vector<double> losses;
  std::unique_ptr<MomentumOperator> combination;
  std::vector<MomentumOperator::StagedRow*> rows;
  std::unique_ptr<DeviceMemory> device_update;
  std::shared_ptr<Update> update;

  // Writes the result; errors go to its readers.
  void Commit() {
    const absl::StatusOr<uint64_t> checksum =
        WriteUpdate(combination.get(), kernels.get(), device_update.get(),
                    /*sent_as=*/std::nullopt, /*with_update_cosines=*/false,
                    update.get(), [] {});
    if (!checksum.ok()) {
      update->Fail(checksum.status());
      return;
    }
    v1::StepTrailer trailer;
    trailer.set_checksum(*checksum);
    update->Complete(std::move(trailer));
  }
};

CombineCall::CombineCall(std::shared_ptr<Work> work, ChunkCursor cursor)
    : work_(std::move(work)), cursor_(cursor) {}

CombineCall::~CombineCall() = default;

absl::StatusOr<std::unique_ptr<CombineCall>> CombineCall::Start(
    const v1::CombineHeader& header, const Parts& parts) {
  const absl::StatusOr<OperatorOptions> options =
      ToOperatorOptions(header, *parts.limits);
  if (!options.ok()) return options.status();
  const bool host_accessible = parts.kernels->host_accessible();
  const absl::StatusOr<uint64_t> bytes = ReservedBytes(
      *options, host_accessible, /*keeps_committed=*/false,
      /*update_history=*/0, /*gathered_vectors=*/0, ToMessage(options->dtype));
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<std::unique_ptr<MemoryBudget::Reservation>> reservation =
      parts.budget->Reserve(*bytes);
  if (!reservation.ok()) return reservation.status();

  auto work = std::make_shared<Work>();
  work->reservation = *std::move(reservation);
  work->kernels = parts.kernels;
  work->committers = parts.committers;
  work->losses.assign(header.losses().begin(), header.losses().end());
  absl::StatusOr<std::unique_ptr<MomentumOperator>> made =
      MomentumOperator::Create(*options, parts.kernels);
  if (!made.ok()) return made.status();
  work->combination = *std::move(made);
  for (int index = 0; index < options->num_vectors; ++index) {
    absl::StatusOr<MomentumOperator::StagedRow*> row =
        work->combination->Stage(index);
    if (!row.ok()) return row.status();
    work->rows.push_back(*row);
  }
  const size_t vector_bytes = options->num_parameters * SizeOf(options->dtype);
  absl::StatusOr<std::shared_ptr<Update>> update =
      UpdatePool::Make(vector_bytes)->Acquire();
  if (!update.ok()) return update.status();
  work->update = *std::move(update);
  if (!host_accessible) {
    absl::StatusOr<std::unique_ptr<DeviceMemory>> memory =
        parts.kernels->Allocate(vector_bytes);
    if (!memory.ok()) return memory.status();
    work->device_update = *std::move(memory);
  }
  return std::unique_ptr<CombineCall>(new CombineCall(
      std::move(work), ChunkCursor(header.num_vectors(), vector_bytes,
                                   parts.limits->max_chunk_bytes)));
}

absl::Status CombineCall::Append(
    const ChunkPosition& position,
    absl::Span<const absl::Span<const std::byte>> fragments) {
  absl::Status status = cursor_.Check(position);
  if (!status.ok()) return status;
  MomentumOperator::StagedRow* const row = work_->rows[cursor_.vector()];
  for (const absl::Span<const std::byte> bytes : fragments) {
    status = work_->combination->Append(row, bytes);
    if (!status.ok()) return status;
  }
  return cursor_.Advance(position.size) ? work_->combination->Complete(row)
                                        : absl::OkStatus();
}

absl::StatusOr<CombineReply> CombineCall::Finish() {
  if (!complete()) {
    return InvalidField("PROTOCOL_VIOLATION", "chunk.vector", "the end",
                        "all announced vectors");
  }
  std::vector<int> loss_indexes(work_->losses.size());
  std::iota(loss_indexes.begin(), loss_indexes.end(), 0);
  const absl::Status status =
      work_->combination->Solve(loss_indexes, work_->losses);
  if (!status.ok()) return status;
  const StepSolution& solution = *work_->combination->solution();
  CombineReply reply;
  FillSolution(solution.combination, reply.result.mutable_solution());
  FillMatrix(solution.gram, reply.result.mutable_gram());
  FillMatrix(solution.cosines, reply.result.mutable_cosines());
  // The reply keeps the work, and with it the reservation.
  reply.update = std::shared_ptr<const Update>(work_, work_->update.get());
  if (work_->update->size_bytes() <= kInlineCommitBytes) {
    work_->Commit();
  } else {
    work_->committers->Run([work = work_] { work->Commit(); });
  }
  return reply;
}

}  // namespace concord
