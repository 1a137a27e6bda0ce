#include "server/session/rank_stream.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "operators/errors.h"
#include "proto/options/element_type.h"
#include "server/session/round.h"
#include "server/session/session.h"

namespace concord {

v1::StepTrailer StepReply::Trailer(const v1::StepTrailer& committed) const {
  v1::StepTrailer trailer = committed;
  trailer.mutable_timings()->MergeFrom(timings);
  return trailer;
}

RankStream::RankStream(std::shared_ptr<Session> session,
                       std::shared_ptr<Stream> stream, v1::Joined joined)
    : session_(std::move(session)),
      stream_(std::move(stream)),
      joined_(std::move(joined)) {
  const std::optional<HalfType> half = ToHalfType(joined_.gradient_type());
  if (half.has_value()) widener_ = std::make_unique<GradientWidener>(*half);
}

RankStream::~RankStream() { session_->Leave(stream_.get()); }

absl::Status RankStream::Begin(const v1::StepHeader& header) {
  if (!cursor_.complete()) {
    return InvalidField("PROTOCOL_VIOLATION", "header",
                        absl::StrCat("step ", header.step()),
                        "the chunks of the vectors announced before");
  }
  absl::StatusOr<std::shared_ptr<Contribution>> contribution =
      session_->Begin(stream_.get(), header);
  if (!contribution.ok()) return contribution.status();
  contribution_ = *std::move(contribution);
  cursor_ = ChunkCursor(header.vectors_size(), session_->gradient_bytes_,
                        joined_.max_chunk_bytes());
  if (widener_ != nullptr) widener_->Restart();
  awaits_micro_batch_ =
      header.has_accumulation() && !header.accumulation().last();
  return absl::OkStatus();
}

absl::Status RankStream::Append(
    const ChunkPosition& position,
    absl::Span<const absl::Span<const std::byte>> fragments) {
  const absl::Status status = cursor_.Check(position);
  if (!status.ok()) return status;
  const size_t vector = cursor_.vector();
  const bool ends_vector = cursor_.Advance(position.size);
  if (contribution_ == nullptr) return session_->StreamStatus(stream_.get());
  return session_->Append(contribution_.get(), vector, fragments, ends_vector,
                          widener_.get());
}

absl::Status RankStream::AppendNext(
    absl::Span<const absl::Span<const std::byte>> data) {
  // One chunk per vector that the data covers.
  absl::InlinedVector<absl::Span<const std::byte>, 4> part;
  uint64_t taken = 0;
  uint64_t appended = 0;
  for (size_t i = 0; i < data.size();) {
    absl::Span<const std::byte> rest = data[i].subspan(taken);
    uint64_t room = cursor_.complete() ? rest.size() : cursor_.room();
    ChunkPosition position{static_cast<uint32_t>(cursor_.vector()),
                           cursor_.offset(), 0};
    part.clear();
    while (i < data.size()) {
      rest = data[i].subspan(taken);
      const uint64_t size = std::min<uint64_t>(rest.size(), room);
      part.push_back(rest.first(size));
      position.size += size;
      room -= size;
      taken += size;
      if (taken < data[i].size()) break;
      taken = 0;
      ++i;
      if (room == 0) break;
    }
    if (position.size == 0) break;
    if (cursor_.complete()) {
      uint64_t all = 0;
      for (const absl::Span<const std::byte> fragment : data) {
        all += fragment.size();
      }
      return InvalidField("CHUNK_TOO_LARGE", "contribution.data",
                          absl::StrCat(all, " bytes"),
                          absl::StrCat("at most the ", appended,
                                       " bytes of the announced vectors"));
    }
    const absl::Status status = Append(position, part);
    if (!status.ok()) return status;
    appended += position.size;
  }
  return absl::OkStatus();
}

absl::StatusOr<StepReply> RankStream::Finish(
    absl::FunctionRef<bool()> is_cancelled) {
  if (!cursor_.complete()) {
    return InvalidField("PROTOCOL_VIOLATION", "chunk.vector",
                        absl::StrCat("the end, at ", cursor_.vector()),
                        "all announced vectors");
  }
  if (awaits_micro_batch_) {
    return InvalidField("PROTOCOL_VIOLATION", "header.accumulation.last",
                        "false", "true, of the last micro-batch");
  }
  return session_->Finish(stream_.get(), is_cancelled);
}

absl::Status RankStream::EndStep() {
  contribution_.reset();
  return session_->EndStep(stream_.get());
}

absl::Status RankStream::Leave() {
  contribution_.reset();
  return session_->Depart(stream_.get());
}

}  // namespace concord
