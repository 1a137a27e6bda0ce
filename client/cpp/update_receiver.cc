#include "client/cpp/update_receiver.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace concord {

absl::Status VectorReceiver::Add(uint64_t offset, const wire::Payload& data) {
  if (offset != received_ || data.size() > size_ - received_) {
    return absl::DataLossError(
        absl::StrCat("the server sent ", data.size(), " bytes at offset ",
                     offset, " after ", received_, " of ", size_, " bytes"));
  }
  if (half_.has_value()) {
    for (const wire::Fragment& fragment : data.fragments()) {
      checksum_.Add(fragment);
      widened_ +=
          half_->Read(fragment, reinterpret_cast<float*>(to_) + widened_);
    }
  } else {
    std::byte* const begin = to_ + received_;
    // The server may have written it there itself.
    if (data.fragments().size() != 1 || data.fragments()[0].data() != begin) {
      data.CopyTo(begin);
    }
    checksum_.Add({begin, data.size()});
  }
  received_ += data.size();
  return absl::OkStatus();
}

absl::Status VectorReceiver::Check(uint64_t checksum) const {
  if (received_ != size_) {
    return absl::DataLossError(absl::StrCat("the server sent ", received_,
                                            " bytes of a vector of ", size_));
  }
  if (checksum_.Digest() != checksum) {
    return absl::DataLossError(absl::StrCat(
        "checksum ", absl::Hex(checksum_.Digest(), absl::kZeroPad16),
        " of the received vector is not the server's, ",
        absl::Hex(checksum, absl::kZeroPad16)));
  }
  return absl::OkStatus();
}

absl::Status UpdateReceiver::Add(v1::StepResponse* message,
                                 const wire::Payload& data) {
  switch (message->message_case()) {
    case v1::StepResponse::kResult:
      return SetResult(message->mutable_result());
    case v1::StepResponse::kChunk:
      if (!has_result_) break;
      return vector_.Add(message->chunk().offset(), data);
    case v1::StepResponse::kTrailer:
      if (!has_result_) break;
      return SetTrailer(message->mutable_trailer());
    case v1::StepResponse::kReply: {
      v1::StepReply* const reply = message->mutable_reply();
      absl::Status status = SetResult(reply->mutable_result());
      if (status.ok()) status = vector_.Add(0, data);
      if (status.ok()) status = SetTrailer(reply->mutable_trailer());
      return status;
    }
    default:
      break;
  }
  return absl::DataLossError(
      absl::StrCat("the server sent a message out of turn (case ",
                   message->message_case(), ")"));
}

absl::Status UpdateReceiver::SetResult(v1::StepResult* result) {
  if (has_result_ || result->step() != step_ || result->epoch() != epoch_ ||
      result->update_length() != length_ ||
      (result->update_type() != type_ && ToHalfType(type_).has_value())) {
    return absl::DataLossError(
        absl::StrCat("the server answered step ", result->step(), ", epoch ",
                     result->epoch(), ", ", result->update_length(),
                     " elements; asked for was step ", step_, ", epoch ",
                     epoch_, ", ", length_, " elements"));
  }
  has_result_ = true;
  result_.Swap(result);
  return absl::OkStatus();
}

absl::Status UpdateReceiver::SetTrailer(v1::StepTrailer* trailer) {
  if (trailer->step() != step_ || trailer->epoch() != epoch_) {
    return absl::DataLossError(absl::StrCat(
        "the server's trailer is of step ", trailer->step(), ", epoch ",
        trailer->epoch(), "; asked for was step ", step_, ", epoch ", epoch_));
  }
  absl::Status status = vector_.Check(trailer->checksum());
  if (!status.ok()) return status;
  trailer_.Swap(trailer);
  complete_ = true;
  return absl::OkStatus();
}

}  // namespace concord
