// What the operators with momenta share: the rows as stored, their counters,
// who takes part in a step, and the switch to a new step.
#ifndef CONCORD_OPERATORS_MOMENTUM_MOMENTA_OPERATOR_H_
#define CONCORD_OPERATORS_MOMENTUM_MOMENTA_OPERATOR_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "operators/momentum/staged_operator.h"

namespace concord {

// 1 - beta^t
double BiasCorrection(double beta, int64_t t);

class MomentaOperator : public StagedOperator {
 public:
  absl::Status Recompute(void* update) const override;
  absl::Status RetakeGram() override;

 protected:
  MomentaOperator(const OperatorOptions& options, double beta_1, double beta_2,
                  OperatorParts parts);

  // ---- For subclasses
  // --------------------------------------------------------
  virtual const ParticipationOptions& participation() const = 0;
  // What makes the row that is combined of the row as its dot products know it,
  // after `updates` > 0 updates.
  virtual double RowScale(int64_t updates) const = 0;
  // The algebra of a solved, live step beyond the coefficients.
  virtual absl::Status SolveOwn(absl::Span<Staging::Row* const> rows) = 0;
  // The commit's pass of a live step. `rows` and `direction` are filled in, or
  // with a rule the rows and scales of those that take part.
  virtual void CompletePass(UpdatePass* pass) = 0;
  // Makes the solved step the state: replaces the vectors of `rows` by their
  // slots', and what the subclass keeps itself.
  virtual void SwitchOwn(absl::Span<Staging::Row* const> rows) = 0;
  // The committed, live step's update once more. `rows` and `direction` are
  // filled in: the rows and their coefficients, or the direction that was kept.
  virtual void CompleteCommitted(UpdatePass* pass) const = 0;
  virtual void NumbersOwn(OperatorNumbers* numbers) const = 0;
  virtual bool FitsOwn(const OperatorNumbers& numbers) const = 0;
  virtual void SetNumbersOwn(const OperatorNumbers& numbers) = 0;

  // The direction's position among the vectors, the last one; where rows are
  // combined by columns.
  bool columns() const { return columns_; }
  size_t direction_position() const { return held().size() - 1; }

  // ---- StagedOperator
  // ----------------------------------------------------------
  StoredRows committed_rows() const override { return {rows_, {}}; }
  const Eigen::MatrixXd& committed_gram() const override { return gram_; }
  absl::Status SolveRows(absl::Span<Staging::Row* const> rows,
                         Eigen::MatrixXd gram, absl::Span<const double> losses,
                         absl::Span<const int> active,
                         StepSolution* solution) override;
  UpdatePass PassOfSolved() override;
  double RowSquare(size_t position) const override {
    return solved_.gram(position, position);
  }
  void Switch(absl::Span<Staging::Row* const> rows) override;
  void OnVectors() override;
  OperatorNumbers Numbers() const override;
  OperatorNumbers InitialNumbers() const override;
  bool Fits(const OperatorNumbers& numbers) const override;
  void SetNumbers(const OperatorNumbers& numbers) override;

  // A solved step that is not committed yet.
  struct Solved {
    bool live = false;
    Eigen::MatrixXd gram;               // Of the rows, not yet scaled.
    std::vector<int64_t> updates;       // t_i
    std::vector<int64_t> last_updates;  // Steps.
    std::vector<double> coefficients;   // Of the rows, not yet scaled.
    std::vector<const void*> vectors;   // The momenta after this step.
    std::optional<ColumnRule> rule;
    std::vector<int> participants;          // With a rule: whose it is,
    std::vector<const void*> rule_vectors;  // and their vectors
    std::vector<double> rule_scales;        // and scales.
  };

  std::vector<void*> rows_;  // m_i
  // Where rows are combined by columns, one vector: the direction of the last
  // live step. Else none.
  std::vector<void*> kept_;
  // What takes its place at the switch, null where it is written in place.
  VectorHandle next_direction_;
  Eigen::MatrixXd gram_;  // Of the rows, not yet scaled.
  std::vector<int64_t> updates_;
  std::vector<int64_t> last_updates_;
  std::vector<double> coefficients_;  // Of the rows, last live step.
  int64_t live_steps_ = 0;
  Solved solved_;

 private:
  const bool columns_;
};

}  // namespace concord

#endif  // CONCORD_OPERATORS_MOMENTUM_MOMENTA_OPERATOR_H_
