#include "operators/momentum/stored_gram.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace concord {

absl::StatusOr<Eigen::MatrixXd> GramOf(StoredRows rows, Dtype dtype,
                                       size_t num_parameters,
                                       Kernels* kernels) {
  const size_t m = rows.vectors.size();
  const size_t block = kernels->block_elements();
  const size_t stretch = RowPasses::ScratchElements(*kernels);
  const size_t stretch_bytes = stretch * SizeOf(dtype);
  Eigen::MatrixXd gram = Eigen::MatrixXd::Zero(m, m);
  std::unique_ptr<DeviceMemory> scratch;
  if (!rows.rescalings.empty()) {
    absl::StatusOr<std::unique_ptr<DeviceMemory>> memory =
        kernels->Allocate(m * stretch_bytes);
    if (!memory.ok()) return memory.status();
    scratch = *std::move(memory);
  }
  std::vector<const void*> made(m);
  std::vector<double> dots((stretch + block - 1) / block * m);
  for (size_t first = 0; first < num_parameters; first += stretch) {
    const size_t count = std::min(stretch, num_parameters - first);
    const size_t offset = first * SizeOf(dtype);
    for (size_t i = 0; i < m; ++i) {
      made[i] = Advance(rows.vectors[i], offset);
      if (scratch == nullptr) continue;
      SeparatePass pass;
      pass.dtype = dtype;
      pass.count = count;
      pass.momentum = made[i];
      pass.second = Advance(rows.rescalings[i].second, offset);
      pass.scale = rows.rescalings[i].scale;
      pass.second_scale = rows.rescalings[i].second_scale;
      pass.epsilon = kEpsilon;
      pass.rescaled = Advance(scratch->data(), i * stretch_bytes);
      const absl::Status status = kernels->Separate(pass);
      if (!status.ok()) return status;
      made[i] = pass.rescaled;
    }
    for (size_t i = 0; i < m; ++i) {
      IngestPass pass;
      pass.dtype = dtype;
      pass.count = count;
      pass.gradient = made[i];
      pass.rows = absl::MakeConstSpan(made).subspan(i + 1);
      pass.dots = dots.data();
      const absl::Status status = kernels->Ingest(pass);
      if (!status.ok()) return status;
      const size_t width = m - i;
      for (size_t b = 0; b * block < count; ++b) {
        for (size_t j = 0; j < width; ++j)
          gram(i, i + j) += dots[b * width + j];
      }
    }
  }
  gram.triangularView<Eigen::StrictlyLower>() = gram.transpose();
  return gram;
}

}  // namespace concord
