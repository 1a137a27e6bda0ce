#include "client/python/native/engine.h"

#include <utility>

namespace concord::python {

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(
    const OperatorOptions& options, std::shared_ptr<Kernels> kernels) {
  auto momentum = MomentumOperator::Create(options, kernels);
  if (!momentum.ok()) return momentum.status();
  return std::unique_ptr<Engine>(
      new Engine(options, std::move(kernels), *std::move(momentum)));
}

Engine::Engine(OperatorOptions options, std::shared_ptr<Kernels> kernels,
               std::unique_ptr<MomentumOperator> momentum)
    : options_(std::move(options)),
      kernels_(std::move(kernels)),
      pool_(std::make_shared<ResultPool>(
          kernels_, options_.num_parameters * SizeOf(options_.dtype))),
      operator_(std::move(momentum)) {}

absl::Status Engine::Step(absl::Span<const int> indexes,
                          absl::Span<const void* const> gradients,
                          const Extras& extras, void* update) {
  absl::MutexLock lock(&mutex_);
  absl::Status status =
      operator_->Ingest(indexes, gradients, extras.gradient_type);
  if (status.ok()) {
    status =
        operator_->Solve(extras.loss_indexes, extras.losses, extras.active);
  }
  if (status.ok()) {
    status = operator_->Commit(update, extras.update_cosines, [](size_t) {});
  }
  // After a commit nothing is staged; a step given up must leave nothing.
  if (!status.ok()) operator_->Reset();
  return status;
}

absl::StatusOr<std::unique_ptr<ResultBuffer>> Engine::Step(
    absl::Span<const int> indexes, absl::Span<const void* const> gradients,
    const Extras& extras) {
  auto buffer = pool_->Take();
  if (!buffer.ok()) return buffer.status();
  const absl::Status status =
      Step(indexes, gradients, extras, (*buffer)->data());
  if (!status.ok()) return status;
  return buffer;
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::WithLayout(
    const OperatorOptions& options, const LayoutChange& change) {
  absl::StatusOr<std::unique_ptr<Engine>> successor = Create(options, kernels_);
  if (!successor.ok()) return successor.status();
  absl::Status status;
  (*successor)->Look([&](MomentumOperator& to) {
    Look([&](MomentumOperator& from) {
      status = MoveState(change, &from, &to, kernels_.get());
    });
  });
  if (!status.ok()) return status;
  return successor;
}

void Engine::Look(const std::function<void(MomentumOperator&)>& look) {
  absl::MutexLock lock(&mutex_);
  look(*operator_);
}

}  // namespace concord::python
