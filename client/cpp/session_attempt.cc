// One attempt of a step: what is sent, piece by piece, and what comes back.
#include <algorithm>
#include <optional>

#include "absl/container/inlined_vector.h"
#include "client/cpp/connection.h"
#include "client/cpp/session_impl.h"
#include "client/cpp/vector_sender.h"
#include "proto/options/element_type.h"
#include "proto/wire/codec.h"

namespace concord {

bool WorkerSession::Impl::Narrows(const StepVector& contribution) const {
  return contribution.data_type != joined_.gradient_type() &&
         ToHalfType(joined_.gradient_type()).has_value();
}

v1::StepHeader WorkerSession::Impl::MakeHeader(
    absl::Span<const StepVector> contributions,
    absl::Span<const StepLoss> losses, absl::Span<const int> active) const {
  v1::StepHeader header;
  header.set_step(applied_step_ + 1);
  header.set_epoch(joined_.epoch());
  header.set_layout_hash(worker_.layout_hash);
  for (const StepLoss& loss : losses) {
    v1::LossValue& to = *header.add_losses();
    to.set_index(static_cast<uint32_t>(loss.index));
    to.set_value(loss.value);
    to.set_sample_weight(loss.sample_weight);
  }
  for (const int index : active) {
    header.add_active(static_cast<uint32_t>(index));
  }
  for (const StepVector& contribution : contributions) {
    v1::VectorHeader& to = *header.add_vectors();
    to.set_index(static_cast<uint32_t>(contribution.index));
    to.set_data_type(joined_.gradient_type());
    to.set_length(joined_.num_parameters());
    to.set_sample_weight(contribution.sample_weight);
  }
  return header;
}

size_t WorkerSession::Impl::ChunkBytes() const {
  if (joined_.max_chunk_bytes() == 0) return client_.chunk_bytes;
  return std::min<size_t>(client_.chunk_bytes, joined_.max_chunk_bytes());
}

bool WorkerSession::Impl::IsInPlace(const StepVector& contribution,
                                    size_t position) const {
  return contribution.data == shared_->vector(position).data();
}

bool WorkerSession::Impl::SendShared(const v1::StepHeader& header,
                                     absl::Span<const StepVector> contributions,
                                     const Limit& limit) {
  const size_t size =
      joined_.num_parameters() * ElementBytes(joined_.gradient_type());
  const auto type_of = [this](const StepVector& contribution) {
    return Narrows(contribution) ? ToHalfType(joined_.gradient_type())
                                 : std::nullopt;
  };
  const size_t single_bytes =
      std::min(ChunkBytes(), client_.single_message_bytes);
  // What the server reads where it lies needs as few pieces as it takes.
  const size_t most_bytes =
      joined_.max_chunk_bytes() == 0 ? ChunkBytes() : joined_.max_chunk_bytes();
  size_t copied = 0;
  for (size_t i = 0; i < contributions.size(); ++i) {
    if (!IsInPlace(contributions[i], i)) ++copied;
  }
  v1::StepRequest message;
  if (copied == 0 ? size <= most_bytes : size <= single_bytes / copied) {
    for (size_t i = 0; i < contributions.size(); ++i) {
      if (IsInPlace(contributions[i], i)) continue;
      CopyInto(shared_->vector(i), contributions[i].data,
               type_of(contributions[i]));
    }
    v1::StepContribution& contribution = *message.mutable_contribution();
    *contribution.mutable_header() = header;
    shared_->SetPlaces(contribution.mutable_header());
    contribution.set_is_shared(true);
    return connection_->Write(wire::Encode(message), limit);
  }
  *message.mutable_header() = header;
  shared_->SetPlaces(message.mutable_header());
  if (!connection_->Write(wire::Encode(message), limit)) return false;
  for (size_t i = 0; i < contributions.size(); ++i) {
    if (!concord::SendShared(
            connection_.get(), static_cast<int>(i), contributions[i].data,
            type_of(contributions[i]), shared_->vector(i),
            IsInPlace(contributions[i], i) ? most_bytes : ChunkBytes(),
            limit)) {
      return false;
    }
  }
  return true;
}

bool WorkerSession::Impl::Send(const v1::StepHeader& header,
                               absl::Span<const StepVector> contributions,
                               const Limit& limit) {
  const size_t size =
      joined_.num_parameters() * ElementBytes(joined_.gradient_type());
  const size_t chunk_bytes = ChunkBytes();
  const size_t single_bytes =
      std::min(chunk_bytes, client_.single_message_bytes);
  if (contributions.empty() || size <= single_bytes / contributions.size()) {
    absl::InlinedVector<grpc::Slice, 4> slices;
    for (const StepVector& contribution : contributions) {
      if (Narrows(contribution)) {
        slices.push_back(NarrowedSlice(
            static_cast<const float*>(contribution.data),
            *ToHalfType(joined_.gradient_type()), joined_.num_parameters()));
      } else {
        slices.push_back(connection_->Lend(
            {static_cast<const std::byte*>(contribution.data), size}));
      }
    }
    v1::StepContribution message;
    *message.mutable_header() = header;
    return connection_->Write(
        wire::EncodeWithData(wire::kContributionField, message, slices), limit);
  }
  v1::StepRequest message;
  *message.mutable_header() = header;
  if (!connection_->Write(wire::Encode(message), limit)) return false;
  for (size_t i = 0; i < contributions.size(); ++i) {
    const void* const data = contributions[i].data;
    const int position = static_cast<int>(i);
    const bool sent = Narrows(contributions[i])
                          ? SendNarrowed(connection_.get(), position,
                                         static_cast<const float*>(data),
                                         *ToHalfType(joined_.gradient_type()),
                                         size, chunk_bytes, limit)
                          : SendVector(connection_.get(), position, data, size,
                                       chunk_bytes, limit);
    if (!sent) return false;
  }
  return true;
}

absl::Status WorkerSession::Impl::Receive(UpdateReceiver* receiver,
                                          const Limit& limit) {
  grpc::ByteBuffer buffer;
  v1::StepResponse response;
  wire::Payload data;
  while (!receiver->complete()) {
    if (!connection_->Read(&buffer, limit)) return connection_->Close(limit);
    if (!wire::Decode(buffer, &response, &data)) {
      return absl::DataLossError("the server sent an unreadable message");
    }
    if (shared_ != nullptr) {
      absl::Status status = shared_->FindUpdate(response, &data);
      if (!status.ok()) return status;
    }
    absl::Status status = receiver->Add(&response, data);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status WorkerSession::Impl::Try(
    v1::StepHeader* header, absl::Span<const StepVector> contributions,
    const void* update, UpdateReceiver* receiver, const Limit& limit) {
  // The micro-batches of a step are one attempt.
  if (header->accumulation().micro_batch() == 0) ++attempt_;
  header->set_attempt(attempt_);
  connection_->StartRead();
  bool shares = shared_ != nullptr;
  if (shares) {
    absl::InlinedVector<const void*, 4> vectors;
    for (const StepVector& contribution : contributions) {
      vectors.push_back(Narrows(contribution) ? nullptr : contribution.data);
    }
    shares = shared_->Reserve(vectors, update, limit);
  }
  if (!(shares ? SendShared(*header, contributions, limit)
               : Send(*header, contributions, limit))) {
    return connection_->Close(limit);
  }
  absl::Status status = Receive(receiver, limit);
  if (status.ok() && !connection_->ReturnLoans()) Disconnect();
  return status;
}

}  // namespace concord
