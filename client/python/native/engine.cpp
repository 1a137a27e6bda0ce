#include "client/python/native/engine.h"

#include <utility>

#include "proto/wire/checksum.h"

namespace concord::python {

namespace {

template <class T>
absl::Span<const std::byte> BytesOf(absl::Span<const T> values) {
  return {reinterpret_cast<const std::byte*>(values.data()),
          values.size() * sizeof(T)};
}

}  // namespace

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

absl::StatusOr<Eigen::MatrixXd> Engine::Ingest(
    absl::Span<const int> indexes, absl::Span<const void* const> gradients,
    std::optional<HalfType> gradient_type) {
  absl::MutexLock lock(&mutex_);
  const absl::Status status =
      operator_->Ingest(indexes, gradients, gradient_type);
  absl::StatusOr<Eigen::MatrixXd> products =
      status.ok() ? operator_->Products() : status;
  if (!products.ok()) operator_->Reset();
  return products;
}

absl::Status Engine::Solve(const Eigen::MatrixXd& products,
                           const Extras& extras) {
  absl::MutexLock lock(&mutex_);
  const absl::Status status = operator_->Solve(
      extras.loss_indexes, extras.losses, extras.active, &products);
  if (!status.ok()) operator_->Reset();
  return status;
}

absl::Status Engine::Commit(void* update) {
  absl::MutexLock lock(&mutex_);
  const absl::Status status =
      operator_->Commit(update, /*with_update_cosines=*/false, [](size_t) {});
  if (!status.ok()) operator_->Reset();
  return status;
}

void Engine::Reset() {
  absl::MutexLock lock(&mutex_);
  operator_->Reset();
}

uint64_t Engine::NumbersChecksum() {
  OperatorNumbers numbers;
  {
    absl::MutexLock lock(&mutex_);
    numbers = operator_->Stored().numbers;
  }
  wire::Checksum checksum;
  const auto add = [&checksum](absl::Span<const double> values) {
    checksum.Add(BytesOf(values));
  };
  const auto add_counts = [&checksum](absl::Span<const int64_t> values) {
    checksum.Add(BytesOf(values));
  };
  add({numbers.gram.data(), static_cast<size_t>(numbers.gram.size())});
  add_counts(numbers.updates);
  add_counts(numbers.last_updates);
  add_counts({numbers.live_steps, numbers.committed_steps});
  add(numbers.coefficients);
  add(numbers.previous);
  add({numbers.correction});
  add(numbers.scales);
  add(numbers.combiner);
  add(numbers.recorder);
  return checksum.Digest();
}

void Engine::Look(const std::function<void(MomentumOperator&)>& look) {
  absl::MutexLock lock(&mutex_);
  look(*operator_);
}

}  // namespace concord::python
