#include "server/session/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/util/json_util.h"
#include "server/storage/safetensors.h"

namespace concord {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

// Numbers of a state as tensors: one place says their names and order.
template <class Numbers, class Visit>
void ForEachNumber(Numbers& numbers, Visit visit) {
  visit("updates", numbers.updates);
  visit("last_updates", numbers.last_updates);
  visit("coefficients", numbers.coefficients);
  visit("previous", numbers.previous);
  visit("scales", numbers.scales);
  visit("combiner", numbers.combiner);
  visit("recorder", numbers.recorder);
}

TensorType TypeOf(const std::vector<double>&) { return TensorType::kF64; }
TensorType TypeOf(const std::vector<int64_t>&) { return TensorType::kI64; }

template <class T>
absl::Span<const std::byte> BytesOf(const T* data, size_t count) {
  return {reinterpret_cast<const std::byte*>(data), count * sizeof(T)};
}

template <class T>
void CopyTo(absl::Span<const std::byte> bytes, T* data) {
  // Empty vectors have no address, which memcpy does not take.
  if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
}

// Metadata holds strings alone.
template <class Message>
std::string ToJson(const Message& message) {
  std::string text;
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  // Messages of the contract have no Any, the one thing that can fail.
  (void)google::protobuf::util::MessageToJsonString(message, &text, options);
  return text;
}

template <class Message>
absl::Status FromJson(const SafetensorsReader& file, const char* key,
                      Message* message) {
  const absl::string_view text = file.Metadata(key);
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto status = google::protobuf::util::JsonStringToMessage(
      std::string(text), message, options);
  if (status.ok()) return absl::OkStatus();
  return file.Damaged(absl::StrCat("its metadata \"", key, "\" is unreadable: ",
                                   std::string(status.message())));
}

bool IsVector(const std::string& name) {
  return absl::StartsWith(name, "momentum.") ||
         absl::StartsWith(name, "second_momentum") || name == "direction" ||
         name == "update";
}

}  // namespace

absl::Status WriteSnapshot(
    SessionSnapshot snapshot,
    absl::FunctionRef<absl::Status(absl::Span<const std::byte>)> sink) {
  const OperatorNumbers& numbers = snapshot.state.numbers;
  const bool wide = snapshot.session.data_type() == v1::FLOAT64;
  const uint64_t n = snapshot.session.num_parameters();
  std::vector<TensorSpec> tensors;
  for (const NamedVector& named : snapshot.state.vectors) {
    tensors.push_back(
        {named.name, wide ? TensorType::kF64 : TensorType::kF32, {n}});
  }
  const auto rows = static_cast<uint64_t>(numbers.gram.rows());
  tensors.push_back({"gram", TensorType::kF64, {rows, rows}});
  ForEachNumber(numbers, [&](const char* name, const auto& values) {
    tensors.push_back({name, TypeOf(values), {values.size()}});
  });
  tensors.push_back({"live_steps", TensorType::kI64, {}});
  tensors.push_back({"committed_step", TensorType::kI64, {}});
  tensors.push_back({"correction", TensorType::kF64, {}});
  TensorMetadata metadata = {{"session", snapshot.session.name()},
                             {"options", ToJson(snapshot.session)}};
  if (snapshot.answer.has_value()) {
    metadata.emplace_back("result", ToJson(*snapshot.answer->result));
    metadata.emplace_back("trailer", ToJson(snapshot.answer->trailer));
  }

  SafetensorsWriter writer(std::move(tensors), std::move(metadata), sink);
  absl::Status status = writer.Begin();
  std::vector<std::byte> piece;
  for (NamedVector& named : snapshot.state.vectors) {
    const uint64_t bytes = n * (wide ? 8 : 4);
    for (uint64_t done = 0; done < bytes && status.ok(); done += piece.size()) {
      piece.resize(std::min<uint64_t>(kPieceBytes, bytes - done));
      status = snapshot.kernels->CopyToHost(
          piece.data(),
          static_cast<const std::byte*>(named.vector->data()) + done,
          piece.size());
      if (status.ok()) status = writer.Write(named.name, piece);
    }
    if (!status.ok()) return status;
    named.vector.reset();
  }
  // Row-major; it is symmetric.
  status = writer.Write(
      "gram", BytesOf(numbers.gram.data(), static_cast<size_t>(rows * rows)));
  ForEachNumber(numbers, [&](const char* name, const auto& values) {
    if (status.ok()) {
      status = writer.Write(name, BytesOf(values.data(), values.size()));
    }
  });
  if (status.ok()) {
    status = writer.Write("live_steps", BytesOf(&numbers.live_steps, 1));
  }
  if (status.ok()) {
    status =
        writer.Write("committed_step", BytesOf(&numbers.committed_steps, 1));
  }
  if (status.ok()) {
    status = writer.Write("correction", BytesOf(&numbers.correction, 1));
  }
  return status.ok() ? writer.Finish() : status;
}

absl::StatusOr<StoredCheckpoint> ReadCheckpoint(
    absl::Span<const std::byte> file, const std::string& name) {
  const absl::StatusOr<SafetensorsReader> reader =
      SafetensorsReader::Parse(file, name);
  if (!reader.ok()) return reader.status();
  StoredCheckpoint stored;
  absl::Status status = FromJson(*reader, "options", &stored.session);
  if (!status.ok()) return status;
  for (const SafetensorsReader::Tensor& tensor : reader->tensors()) {
    if (!IsVector(tensor.spec.name)) continue;
    stored.names.push_back(tensor.spec.name);
    stored.vectors.push_back(tensor.bytes);
  }
  // Sizes are the file's; whether they fit is the operator's to say.
  const auto read = [&](const char* tensor_name, TensorType type,
                        size_t rank) -> const SafetensorsReader::Tensor* {
    const SafetensorsReader::Tensor* tensor = reader->Find(tensor_name);
    if (tensor != nullptr && tensor->spec.type == type &&
        tensor->spec.shape.size() == rank) {
      return tensor;
    }
    status = reader->Damaged(
        absl::StrCat("it has no tensor \"", tensor_name, "\" of that kind"));
    return nullptr;
  };
  if (const auto* gram = read("gram", TensorType::kF64, 2)) {
    const auto rows = static_cast<Eigen::Index>(gram->spec.shape[0]);
    if (gram->spec.shape[0] != gram->spec.shape[1]) {
      return reader->Damaged("its Gram matrix is not square");
    }
    stored.numbers.gram.resize(rows, rows);
    CopyTo(gram->bytes, stored.numbers.gram.data());
  }
  ForEachNumber(stored.numbers, [&](const char* tensor_name, auto& values) {
    if (const auto* tensor = read(tensor_name, TypeOf(values), 1)) {
      values.resize(tensor->spec.shape[0]);
      CopyTo(tensor->bytes, values.data());
    }
  });
  if (const auto* steps = read("live_steps", TensorType::kI64, 0)) {
    CopyTo(steps->bytes, &stored.numbers.live_steps);
  }
  if (const auto* step = read("committed_step", TensorType::kI64, 0)) {
    CopyTo(step->bytes, &stored.numbers.committed_steps);
  }
  if (const auto* correction = read("correction", TensorType::kF64, 0)) {
    CopyTo(correction->bytes, &stored.numbers.correction);
  }
  if (!status.ok()) return status;
  if (!reader->Metadata("result").empty()) {
    CommittedAnswer answer;
    auto result = std::make_shared<v1::StepResult>();
    status = FromJson(*reader, "result", result.get());
    if (status.ok()) status = FromJson(*reader, "trailer", &answer.trailer);
    if (!status.ok()) return status;
    answer.result = std::move(result);
    stored.answer = std::move(answer);
  }
  return stored;
}

}  // namespace concord
