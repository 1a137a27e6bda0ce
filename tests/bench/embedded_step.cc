#include "tests/bench/embedded_step.h"

#include <random>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "tests/bench/measurement.h"

namespace concord::bench {

std::vector<std::vector<float>> RandomGradients(int m, size_t n) {
  std::mt19937 generator(17);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> gradients(static_cast<size_t>(m));
  for (std::vector<float>& gradient : gradients) {
    gradient.resize(n);
    for (float& value : gradient) value = normal(generator);
  }
  return gradients;
}

absl::StatusOr<std::unique_ptr<EmbeddedStep>> EmbeddedStep::Create(
    size_t n, int m, std::shared_ptr<Kernels> kernels, bool with_update_cosines,
    OperatorStorage storage, int updated) {
  OperatorOptions options;
  options.num_vectors = m;
  options.num_parameters = n;
  options.max_vectors_per_step = updated;
  absl::StatusOr<std::unique_ptr<MomentumOperator>> made =
      MomentumOperator::Create(options, kernels, std::move(storage));
  if (!made.ok()) return made.status();
  std::unique_ptr<EmbeddedStep> step(
      new EmbeddedStep(updated, with_update_cosines, *std::move(made)));
  const absl::Status put = step->PutVectors(n, m, kernels.get());
  if (!put.ok()) return put;
  for (int i = 0; i < m; ++i) {
    const absl::Status status = step->Run();
    if (!status.ok()) return status;
  }
  step->TakePhases();
  return step;
}

EmbeddedStep::EmbeddedStep(int updated, bool with_update_cosines,
                           std::unique_ptr<MomentumOperator> momentum_operator)
    : updated_(static_cast<size_t>(updated)),
      with_update_cosines_(with_update_cosines),
      operator_(std::move(momentum_operator)) {}

absl::Status EmbeddedStep::PutVectors(size_t n, int m, Kernels* kernels) {
  for (const std::vector<float>& gradient : RandomGradients(m, n)) {
    auto memory = kernels->Allocate(n * sizeof(float));
    if (!memory.ok()) return memory.status();
    const absl::Status status = kernels->CopyFromHost(
        (*memory)->data(), gradient.data(), n * sizeof(float));
    if (!status.ok()) return status;
    gradients_.push_back(*std::move(memory));
  }
  auto memory = kernels->Allocate(n * sizeof(float));
  if (!memory.ok()) return memory.status();
  update_ = *std::move(memory);
  return absl::OkStatus();
}

absl::Status EmbeddedStep::Run() {
  absl::InlinedVector<int, 4> indexes;
  absl::InlinedVector<const void*, 4> gradients;
  for (size_t i = 0; i < updated_; ++i) {
    const size_t index = next_++ % gradients_.size();
    indexes.push_back(static_cast<int>(index));
    gradients.push_back(gradients_[index]->data());
  }
  Stopwatch watch;
  absl::Status status = operator_->Ingest(indexes, gradients);
  if (!status.ok()) return status;
  ingest_.push_back(watch.Lap());
  status = operator_->Solve({}, {});
  if (!status.ok()) return status;
  solve_.push_back(watch.Lap());
  status =
      operator_->Commit(update_->data(), with_update_cosines_, [](size_t) {});
  if (!status.ok()) return status;
  commit_.push_back(watch.Lap());
  return absl::OkStatus();
}

EmbeddedStep::Phases EmbeddedStep::TakePhases() {
  return {Median(std::exchange(ingest_, {})), Median(std::exchange(solve_, {})),
          Median(std::exchange(commit_, {}))};
}

}  // namespace concord::bench
