// A step of the engine in the caller's process, on the caller's own vectors,
// which lie on the kernels' device: Ingest, Solve and Commit of M-ConFIG with
// one updated loss, or several.
#ifndef CONCORD_TESTS_BENCH_EMBEDDED_STEP_H_
#define CONCORD_TESTS_BENCH_EMBEDDED_STEP_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "operators/kernels/kernels.h"
#include "operators/momentum/momentum_operator.h"

namespace concord::bench {

// Normally distributed gradients of `m` losses: the same for the same `m`, `n`.
std::vector<std::vector<float>> RandomGradients(int m, size_t n);

class EmbeddedStep {
 public:
  // All losses are seen once before it returns: every step is a live one.
  static absl::StatusOr<std::unique_ptr<EmbeddedStep>> Create(
      size_t n, int m, std::shared_ptr<Kernels> kernels,
      bool with_update_cosines, OperatorStorage storage = {}, int updated = 1);

  // Updates the next `updated` losses in turn.
  absl::Status Run();

  // What a state file's record would say of the last step.
  StoredState Stored() const { return operator_->Stored(); }

  // Medians over the steps since the last call: where the time went.
  struct Phases {
    double ingest_ms = 0, solve_ms = 0, commit_ms = 0;
  };
  Phases TakePhases();

 private:
  EmbeddedStep(int updated, bool with_update_cosines,
               std::unique_ptr<MomentumOperator> momentum_operator);
  absl::Status PutVectors(size_t n, int m, Kernels* kernels);

  const size_t updated_;
  const bool with_update_cosines_;
  const std::unique_ptr<MomentumOperator> operator_;
  std::vector<std::unique_ptr<DeviceMemory>> gradients_;
  std::unique_ptr<DeviceMemory> update_;
  size_t next_ = 0;  // Loss.
  std::vector<double> ingest_, solve_, commit_;
};

}  // namespace concord::bench

#endif  // CONCORD_TESTS_BENCH_EMBEDDED_STEP_H_
