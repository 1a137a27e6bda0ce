#include "server/session/stored_session.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "proto/wire/checksum.h"
#include "server/session/options.h"

namespace concord {
namespace {

// Everything in a record whose size does not depend on the session's.
constexpr uint64_t kFixedRecordBytes = 64 << 10;

absl::Status Damaged(const std::string& why) {
  return MakeError(absl::StatusCode::kDataLoss,
                   {"STATE_DAMAGED", "", "", "", {{"why", why}}}, why);
}

absl::StatusOr<uint64_t> ChecksumAt(uint32_t place, uint64_t bytes,
                                    StateFile* file) {
  // A mapping of its own: others of the same place see the same pages.
  const absl::StatusOr<std::unique_ptr<DeviceMemory>> vector =
      file->Allocate(place);
  if (!vector.ok()) return vector.status();
  return wire::ChecksumOf({static_cast<const std::byte*>((*vector)->data()),
                           static_cast<size_t>(bytes)});
}

}  // namespace

StateFile::Shape StateShape(const v1::Session& session) {
  const OperatorOptions options = ToOperatorOptions(session);
  const uint64_t stride = options.num_parameters * SizeOf(options.dtype);
  const uint64_t m = session.num_vectors();
  const uint64_t ranks = session.num_workers();
  StateFile::Shape shape;
  shape.vector_bytes = stride;
  shape.vectors = static_cast<uint32_t>(
      MomentumOperator::SourceVectors(options, /*keeps_committed=*/true));
  // Matrices: the stored one, the result's and its cosines, and what a combiner
  // may keep of as many numbers again. Numbers of a loss: less than 64. A rank:
  // its incarnations, and the losses that it brought (at most m each, two bytes
  // or more where there are many).
  shape.record_bytes =
      kFixedRecordBytes + 8 * (8 * m * m + 64 * m) + ranks * (256 + 5 * m);
  return shape;
}

state::Numbers ToMessage(const OperatorNumbers& numbers) {
  state::Numbers message;
  for (Eigen::Index i = 0; i < numbers.gram.rows(); ++i) {
    for (Eigen::Index j = 0; j < numbers.gram.cols(); ++j) {
      message.add_gram(numbers.gram(i, j));
    }
  }
  const auto fill = [](const auto& from, auto* to) {
    to->Add(from.begin(), from.end());
  };
  fill(numbers.updates, message.mutable_updates());
  fill(numbers.last_updates, message.mutable_last_updates());
  message.set_live_steps(numbers.live_steps);
  message.set_committed_steps(numbers.committed_steps);
  fill(numbers.coefficients, message.mutable_coefficients());
  fill(numbers.previous, message.mutable_previous());
  message.set_correction(numbers.correction);
  fill(numbers.scales, message.mutable_scales());
  fill(numbers.combiner, message.mutable_combiner());
  fill(numbers.recorder, message.mutable_recorder());
  return message;
}

absl::StatusOr<OperatorNumbers> FromMessage(const state::Numbers& message) {
  OperatorNumbers numbers;
  const auto fill = [](const auto& from, auto* to) {
    to->assign(from.begin(), from.end());
  };
  const int m = message.updates_size();
  if (message.gram_size() != m * m) {
    return Damaged(absl::StrCat("a Gram matrix of ", message.gram_size(),
                                " numbers for ", m, " losses"));
  }
  numbers.gram.resize(m, m);
  for (int i = 0; i < m * m; ++i) numbers.gram(i / m, i % m) = message.gram(i);
  fill(message.updates(), &numbers.updates);
  fill(message.last_updates(), &numbers.last_updates);
  numbers.live_steps = message.live_steps();
  numbers.committed_steps = message.committed_steps();
  fill(message.coefficients(), &numbers.coefficients);
  fill(message.previous(), &numbers.previous);
  numbers.correction = message.correction();
  fill(message.scales(), &numbers.scales);
  fill(message.combiner(), &numbers.combiner);
  fill(message.recorder(), &numbers.recorder);
  return numbers;
}

void FillStored(const StoredState& stored, state::Record* record) {
  *record->mutable_numbers() = ToMessage(stored.numbers);
  record->mutable_places()->Assign(stored.places.begin(), stored.places.end());
}

absl::StatusOr<StoredState> StoredOf(const state::Record& record) {
  absl::StatusOr<OperatorNumbers> numbers = FromMessage(record.numbers());
  if (!numbers.ok()) return numbers.status();
  StoredState stored;
  stored.numbers = *std::move(numbers);
  stored.places.assign(record.places().begin(), record.places().end());
  return stored;
}

v1::Session ChangingOptions(const v1::Session& session) {
  v1::Session options;
  *options.mutable_options() = session.options();
  *options.mutable_round_timeout() = session.round_timeout();
  *options.mutable_send_timeout() = session.send_timeout();
  *options.mutable_straggler_timeout() = session.straggler_timeout();
  *options.mutable_idle_ttl() = session.idle_ttl();
  options.set_min_workers(session.min_workers());
  if (session.has_checkpoints()) {
    *options.mutable_checkpoints() = session.checkpoints();
  }
  return options;
}

v1::Session WithOptions(const v1::Session& created,
                        const v1::Session& options) {
  v1::Session session = created;
  *session.mutable_options() = options.options();
  *session.mutable_round_timeout() = options.round_timeout();
  *session.mutable_send_timeout() = options.send_timeout();
  *session.mutable_straggler_timeout() = options.straggler_timeout();
  *session.mutable_idle_ttl() = options.idle_ttl();
  session.set_min_workers(options.min_workers());
  if (options.has_checkpoints()) {
    *session.mutable_checkpoints() = options.checkpoints();
  }
  return session;
}

absl::Status FillChecksums(uint64_t bytes, StateFile* file,
                           state::Record* record) {
  record->clear_checksums();
  for (const uint32_t place : record->places()) {
    const absl::StatusOr<uint64_t> checksum = ChecksumAt(place, bytes, file);
    if (!checksum.ok()) return checksum.status();
    record->add_checksums(*checksum);
  }
  return absl::OkStatus();
}

absl::Status CheckVectors(const state::Record& record, uint64_t bytes,
                          StateFile* file) {
  if (record.checksums_size() == 0) return absl::OkStatus();
  if (record.checksums_size() != record.places_size()) {
    return Damaged("the record has not a checksum for every vector");
  }
  for (int i = 0; i < record.places_size(); ++i) {
    const absl::StatusOr<uint64_t> checksum =
        ChecksumAt(record.places(i), bytes, file);
    if (!checksum.ok()) return checksum.status();
    if (*checksum != record.checksums(i)) {
      return Damaged(
          absl::StrCat("the checksum of vector ", i, " does not fit"));
    }
  }
  return absl::OkStatus();
}

}  // namespace concord
