// A session as its state file has it: the sizes of the file, and the operator's
// state to and from the record's message.
#ifndef CONCORD_SERVER_SESSION_STORED_SESSION_H_
#define CONCORD_SERVER_SESSION_STORED_SESSION_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "concord/state/state.pb.h"
#include "concord/v1/session.pb.h"
#include "operators/momentum/momentum_operator.h"
#include "server/storage/state_file.h"

namespace concord {

// Of a normalized session. The record's size is bounded by the numbers of
// losses and ranks.
StateFile::Shape StateShape(const v1::Session& session);

state::Numbers ToMessage(const OperatorNumbers& numbers);
// DATA_LOSS, STATE_DAMAGED where the matrix is not square.
absl::StatusOr<OperatorNumbers> FromMessage(const state::Numbers& message);

// Puts the operator's numbers and places into `record`.
void FillStored(const StoredState& stored, state::Record* record);
absl::StatusOr<StoredState> StoredOf(const state::Record& record);

// The options that a record has: those that can change between steps.
v1::Session ChangingOptions(const v1::Session& session);
// What was created, with a record's options.
v1::Session WithOptions(const v1::Session& created, const v1::Session& options);

// XXH3 of the first `bytes` of every vector that the record names. The file's
// errors.
absl::Status FillChecksums(uint64_t bytes, StateFile* file,
                           state::Record* record);
// Whether the file's vectors are those that the record was closed with: reads
// them all. OK where the record has no checksums.
absl::Status CheckVectors(const state::Record& record, uint64_t bytes,
                          StateFile* file);

}  // namespace concord

#endif  // CONCORD_SERVER_SESSION_STORED_SESSION_H_
