#include "server/session/options.h"

#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/field_mask_util.h"
#include "google/protobuf/util/message_differencer.h"
#include "google/protobuf/util/time_util.h"
#include "operators/errors.h"
#include "operators/momentum/gathered_rows.h"
#include "proto/options/combiner_options.h"
#include "proto/options/element_type.h"
#include "proto/options/layout.h"
#include "proto/options/operator_options.h"

namespace concord {
namespace {

using google::protobuf::util::MessageDifferencer;

constexpr uint32_t kDefaultCheckpoints = 3;

absl::Status InvalidOption(absl::string_view field, absl::string_view value,
                           absl::string_view accepted) {
  return InvalidField("INVALID_OPTION", field, value, accepted);
}

absl::Status CheckLimit(absl::string_view limit, absl::string_view field,
                        uint64_t value, uint64_t accepted) {
  if (value <= accepted) return absl::OkStatus();
  return MakeError(absl::StatusCode::kResourceExhausted,
                   {"LIMIT_EXCEEDED",
                    std::string(field),
                    absl::StrCat(value),
                    absl::StrCat("at most ", accepted),
                    {{"limit", std::string(limit)},
                     {"value", absl::StrCat(value)},
                     {"accepted", absl::StrCat(accepted)}}});
}

// The engine names its own options; here is where they are in a request. The
// momentum operator is `method`.
absl::Status InRequest(const absl::Status& status, absl::string_view request,
                       absl::string_view operators,
                       absl::string_view method = "pseudo") {
  absl::optional<ErrorDetail> detail = GetErrorDetail(status);
  if (!detail.has_value()) return status;
  const bool of_momentum = absl::StartsWith(detail->field, "beta_") ||
                           detail->field == "stale_after" ||
                           detail->field == "min_relative_norm";
  if (of_momentum) {
    detail->field =
        absl::StrCat(operators, "momentum.", method, ".", detail->field);
  } else if (detail->field == "momentum" ||
             absl::StartsWith(detail->field, "combiner") ||
             absl::StartsWith(detail->field, "loss_recorder")) {
    detail->field = absl::StrCat(operators, detail->field);
  } else {
    detail->field = absl::StrCat(request, detail->field);
  }
  return MakeError(status.code(), *std::move(detail));
}

absl::Status NormalizeDataType(absl::string_view field, v1::DataType* type) {
  if (*type == v1::DATA_TYPE_UNSPECIFIED) *type = v1::FLOAT32;
  if (*type == v1::FLOAT32 || *type == v1::FLOAT64) return absl::OkStatus();
  return InvalidOption(field, NameOf(*type), "FLOAT32 or FLOAT64");
}

// `type` of a field of a session with this data type.
absl::Status CheckWireType(absl::string_view field, v1::DataType type,
                           v1::DataType data_type) {
  if (type == data_type) return absl::OkStatus();
  if (data_type == v1::FLOAT32 && ToHalfType(type).has_value()) {
    return absl::OkStatus();
  }
  return InvalidOption(field, NameOf(type),
                       data_type == v1::FLOAT32
                           ? "BFLOAT16, FLOAT16 or FLOAT32"
                           : "FLOAT64, the session's data_type");
}

// Fills in `otherwise` where the message has none.
absl::Status NormalizeDuration(absl::string_view field, bool given,
                               absl::Duration least, absl::Duration otherwise,
                               google::protobuf::Duration* duration) {
  using google::protobuf::util::TimeUtil;
  if (!given) {
    *duration =
        TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(otherwise));
    return absl::OkStatus();
  }
  const absl::Duration value =
      absl::Seconds(duration->seconds()) + absl::Nanoseconds(duration->nanos());
  const absl::Duration most = absl::Hours(24 * 365);
  if (value >= least && value <= most) {
    return absl::OkStatus();
  }
  return InvalidOption(field, absl::FormatDuration(value),
                       absl::StrCat(absl::FormatDuration(least), " … ",
                                    absl::FormatDuration(most)));
}

absl::Status NormalizeDurability(const Limits& limits, v1::Session* session) {
  if (session->durability() == v1::DURABILITY_UNSPECIFIED) {
    session->set_durability(limits.default_durability);
  }
  if (!v1::Durability_IsValid(session->durability())) {
    return InvalidOption("session.durability",
                         absl::StrCat(session->durability()),
                         "DURABILITY_NONE, DURABILITY_CHECKPOINT or "
                         "DURABILITY_STEP");
  }
  const bool durable = session->durability() != v1::DURABILITY_NONE;
  if (durable && !limits.has_state_directory) {
    return MakeError(absl::StatusCode::kFailedPrecondition,
                     {"NOT_DURABLE",
                      "session.durability",
                      v1::Durability_Name(session->durability()),
                      "DURABILITY_NONE; the server has no state directory",
                      {}});
  }
  if (!durable) {
    if (!session->has_checkpoints()) return absl::OkStatus();
    return InvalidOption("session.checkpoints", "given",
                         "none with DURABILITY_NONE");
  }
  v1::CheckpointPolicy& policy = *session->mutable_checkpoints();
  if (policy.keep() == 0) policy.set_keep(kDefaultCheckpoints);
  return NormalizeDuration("session.checkpoints.every", policy.has_every(),
                           absl::ZeroDuration(), absl::ZeroDuration(),
                           policy.mutable_every());
}

// Writes every default out.
absl::Status NormalizeOptions(v1::OperatorOptions* message) {
  OperatorOptions options;
  const absl::Status status = ReadMethods(*message, &options);
  if (status.ok()) *message = ToMessage(options);
  return status;
}

absl::Status NormalizeNonFinite(v1::Session* session) {
  switch (session->on_nonfinite()) {
    case v1::NON_FINITE_POLICY_UNSPECIFIED:
      session->set_on_nonfinite(v1::NON_FINITE_REFUSE);
      return absl::OkStatus();
    case v1::NON_FINITE_REFUSE:
    case v1::NON_FINITE_SKIP:
      return absl::OkStatus();
    default:
      return InvalidOption("session.on_nonfinite",
                           absl::StrCat(session->on_nonfinite()),
                           "NON_FINITE_REFUSE or NON_FINITE_SKIP");
  }
}

absl::Status CheckLayout(const v1::Session& session) {
  if (session.layout().segments_size() == 0) return absl::OkStatus();
  const uint64_t most = session.num_parameters();
  uint64_t covered = 0;
  for (int i = 0; i < session.layout().segments_size(); ++i) {
    uint64_t elements = 1;
    for (const uint64_t extent : session.layout().segments(i).shape()) {
      // One more than `most` stands for everything that is too many.
      elements = extent != 0 && elements > most / extent ? most + 1
                                                         : elements * extent;
    }
    if (elements > most - covered) {
      return InvalidOption(
          absl::StrCat("session.layout.segments[", i, "].shape"),
          "more elements than are left",
          absl::StrCat("at most ", most - covered,
                       " of num_parameters = ", most));
    }
    covered += elements;
  }
  if (covered == most) return absl::OkStatus();
  return InvalidOption("session.layout",
                       absl::StrCat(covered, " elements in all segments"),
                       absl::StrCat("num_parameters = ", most));
}

Dtype ToDtype(v1::DataType type) {
  return type == v1::FLOAT64 ? Dtype::kFloat64 : Dtype::kFloat32;
}

// Catches the first difference by field path.
class FirstReporter : public MessageDifferencer::Reporter {
 public:
  using Path = std::vector<MessageDifferencer::SpecificField>;
  using Message = google::protobuf::Message;

  void ReportAdded(const Message&, const Message&, const Path& path) override {
    Report(path, "(not set)", "(set)");
  }
  void ReportDeleted(const Message&, const Message&,
                     const Path& path) override {
    Report(path, "(set)", "(not set)");
  }
  void ReportModified(const Message& left, const Message& right,
                      const Path& path) override {
    Report(path, Print(left, path), Print(right, path));
  }

  std::optional<Difference> first;

 private:
  void Report(const Path& path, std::string left, std::string right) {
    if (first.has_value()) return;
    first.emplace();
    for (const auto& part : path) {
      if (part.field == nullptr) continue;
      absl::StrAppend(&first->field, first->field.empty() ? "" : ".",
                      part.field->name());
      if (part.field->is_repeated()) {
        absl::StrAppend(&first->field, "[", part.index, "]");
      }
    }
    first->left = std::move(left);
    first->right = std::move(right);
  }

  static std::string Print(const Message& parent, const Path& path) {
    const google::protobuf::FieldDescriptor* field = path.back().field;
    std::string text;
    if (field != nullptr) {
      google::protobuf::TextFormat::PrintFieldValueToString(
          parent, field, field->is_repeated() ? path.back().index : -1, &text);
    }
    return text;
  }
};

}  // namespace

v1::DataType ToMessage(Dtype dtype) {
  return dtype == Dtype::kFloat64 ? v1::FLOAT64 : v1::FLOAT32;
}

bool IsSessionId(absl::string_view id) {
  const auto alphanumeric = [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c);
  };
  if (id.empty() || id.size() > 63 || !alphanumeric(id.front()) ||
      !alphanumeric(id.back())) {
    return false;
  }
  for (const char c : id) {
    if (!alphanumeric(c) && c != '.' && c != '_' && c != '-') return false;
  }
  return true;
}

absl::StatusOr<v1::Session> NormalizeSession(const v1::Session& session,
                                             const Limits& limits) {
  v1::Session result = session;
  for (const char* field :
       {"name", "uid", "epoch", "committed_step", "layout_hash", "memory_bytes",
        "device", "create_time", "joined_ranks", "absent_ranks",
        "last_checkpoint_step", "owner", "last_checkpoint_time"}) {
    result.GetReflection()->ClearField(
        &result, v1::Session::descriptor()->FindFieldByName(field));
  }
  if (result.num_vectors() < 1) {
    return InvalidOption("session.num_vectors", "0", ">= 1");
  }
  if (result.num_parameters() < 1) {
    return InvalidOption("session.num_parameters", "0", ">= 1");
  }
  absl::Status status = CheckLimit("max_vectors", "session.num_vectors",
                                   result.num_vectors(), limits.max_vectors);
  if (!status.ok()) return status;
  status = CheckLimit("max_parameters", "session.num_parameters",
                      result.num_parameters(), limits.max_parameters);
  if (!status.ok()) return status;
  v1::DataType type = result.data_type();
  status = NormalizeDataType("session.data_type", &type);
  if (!status.ok()) return status;
  result.set_data_type(type);
  FillWireTypes(&result);
  status = CheckWireType("session.gradient_type", result.gradient_type(), type);
  if (!status.ok()) return status;
  status = CheckWireType("session.update_type", result.update_type(), type);
  if (!status.ok()) return status;
  if (result.num_workers() == 0) result.set_num_workers(1);
  status = CheckLimit("max_streams", "session.num_workers",
                      result.num_workers(), limits.max_streams);
  if (!status.ok()) return status;
  if (result.max_vectors_per_step() > result.num_vectors()) {
    return InvalidOption("session.max_vectors_per_step",
                         absl::StrCat(result.max_vectors_per_step()),
                         absl::StrCat("0 (all) … ", result.num_vectors()));
  }
  if (result.max_vectors_per_step() == 0) {
    result.set_max_vectors_per_step(result.num_vectors());
  }
  status = NormalizeDuration("session.round_timeout",
                             session.has_round_timeout(), absl::Milliseconds(1),
                             absl::Minutes(5), result.mutable_round_timeout());
  if (!status.ok()) return status;
  status = NormalizeDuration("session.send_timeout", session.has_send_timeout(),
                             absl::Milliseconds(1), absl::Seconds(60),
                             result.mutable_send_timeout());
  if (!status.ok()) return status;
  status = NormalizeDuration("session.idle_ttl", session.has_idle_ttl(),
                             absl::Milliseconds(1), limits.default_idle_ttl,
                             result.mutable_idle_ttl());
  if (!status.ok()) return status;
  status =
      NormalizeDuration("session.straggler_timeout",
                        session.has_straggler_timeout(), absl::ZeroDuration(),
                        absl::Seconds(10), result.mutable_straggler_timeout());
  if (!status.ok()) return status;
  if (result.min_workers() > result.num_workers()) {
    return InvalidOption("session.min_workers",
                         absl::StrCat(result.min_workers()),
                         absl::StrCat("0 (all) … ", result.num_workers()));
  }
  if (result.max_ranks_per_vector() > result.num_workers()) {
    return InvalidOption("session.max_ranks_per_vector",
                         absl::StrCat(result.max_ranks_per_vector()),
                         absl::StrCat("0 (for 1) … ", result.num_workers()));
  }
  if (result.max_ranks_per_vector() == 0) result.set_max_ranks_per_vector(1);
  status = NormalizeDurability(limits, &result);
  if (!status.ok()) return status;
  status = NormalizeNonFinite(&result);
  if (!status.ok()) return status;
  status = CheckLayout(result);
  if (!status.ok()) return status;
  result.set_layout_hash(LayoutHash(result.layout()));
  status = NormalizeOptions(result.mutable_options());
  if (status.ok()) {
    status = MomentumOperator::Validate(ToOperatorOptions(result));
  }
  if (!status.ok()) return InSession(status, result);
  return result;
}

absl::Status InSession(const absl::Status& status, const v1::Session& session) {
  return InRequest(
      status, "session.", "session.options.",
      session.options().momentum().has_separate() ? "separate" : "pseudo");
}

absl::StatusOr<v1::Session> MergeUpdate(const v1::Session& current,
                                        const v1::UpdateSessionRequest& request,
                                        const Limits& limits) {
  using google::protobuf::util::FieldMaskUtil;
  constexpr char kMutable[] =
      "options.combiner, options.momentum, options.loss_recorder, "
      "round_timeout, send_timeout, straggler_timeout, idle_ttl, min_workers, "
      "or fields of these";
  if (request.update_mask().paths_size() == 0) {
    return InvalidOption("update_mask", "none", kMutable);
  }
  for (int i = 0; i < request.update_mask().paths_size(); ++i) {
    const std::string& path = request.update_mask().paths(i);
    const std::string field = absl::StrCat("update_mask.paths[", i, "]");
    if (!FieldMaskUtil::IsValidPath<v1::Session>(path)) {
      return InvalidOption(field, path, kMutable);
    }
    bool may_change = false;
    for (const absl::string_view root :
         {"options.combiner", "options.momentum", "options.loss_recorder",
          "round_timeout", "send_timeout", "straggler_timeout", "idle_ttl",
          "min_workers"}) {
      may_change |=
          path == root || absl::StartsWith(path, absl::StrCat(root, "."));
    }
    if (!may_change) {
      return InvalidField("IMMUTABLE_OPTION", field, path, kMutable);
    }
  }
  FieldMaskUtil::MergeOptions replace;
  replace.set_replace_message_fields(true);
  replace.set_replace_repeated_fields(true);
  v1::Session merged = current;
  FieldMaskUtil::MergeMessageTo(request.session(), request.update_mask(),
                                replace, &merged);
  absl::StatusOr<v1::Session> normalized = NormalizeSession(merged, limits);
  if (!normalized.ok()) return normalized.status();
  // What the server has set stays.
  v1::Session result = current;
  *result.mutable_options() = normalized->options();
  *result.mutable_round_timeout() = normalized->round_timeout();
  *result.mutable_send_timeout() = normalized->send_timeout();
  *result.mutable_straggler_timeout() = normalized->straggler_timeout();
  *result.mutable_idle_ttl() = normalized->idle_ttl();
  result.set_min_workers(normalized->min_workers());
  return result;
}

OperatorOptions ToOperatorOptions(const v1::Session& normalized) {
  OperatorOptions options;
  options.num_vectors = static_cast<int>(normalized.num_vectors());
  options.num_parameters = normalized.num_parameters();
  options.dtype = ToDtype(normalized.data_type());
  options.max_vectors_per_step =
      static_cast<int>(normalized.max_vectors_per_step());
  // Normalized: cannot fail.
  ReadMethods(normalized.options(), &options).IgnoreError();
  return options;
}

absl::StatusOr<OperatorOptions> ToOperatorOptions(
    const v1::CombineHeader& header, const Limits& limits) {
  absl::Status status = CheckLimit("max_vectors", "header.num_vectors",
                                   header.num_vectors(), limits.max_vectors);
  if (!status.ok()) return status;
  status = CheckLimit("max_parameters", "header.num_parameters",
                      header.num_parameters(), limits.max_parameters);
  if (!status.ok()) return status;
  v1::DataType type = header.data_type();
  status = NormalizeDataType("header.data_type", &type);
  if (!status.ok()) return status;
  OperatorOptions options;
  options.num_vectors = static_cast<int>(header.num_vectors());
  options.num_parameters = header.num_parameters();
  options.dtype = ToDtype(type);
  options.momentum = NoMomentumOptions{};
  absl::StatusOr<CombinerOptions> combiner = FromMessage(header.combiner());
  if (!combiner.ok()) {
    return InRequest(combiner.status(), "header.", "header.");
  }
  options.combiner = *std::move(combiner);
  if (!header.losses().empty()) {
    options.loss_recorder = LatestLossRecorderOptions{};
    if (header.losses_size() != options.num_vectors) {
      return InvalidField("LENGTH_MISMATCH", "header.losses",
                          absl::StrCat(header.losses_size(), " numbers"),
                          absl::StrCat("none or ", options.num_vectors));
    }
  }
  status = InRequest(MomentumOperator::Validate(options), "header.", "header.");
  if (!status.ok()) return status;
  return options;
}

absl::StatusOr<CombinerOptions> ToCombinerOptions(
    const v1::CombinerOptions& message, int num_vectors,
    absl::string_view prefix) {
  absl::StatusOr<CombinerOptions> options = FromMessage(message);
  absl::Status status = options.status();
  if (status.ok()) status = MakeCombiner(*options, num_vectors).status();
  if (!status.ok()) return InRequest(status, prefix, prefix);
  return options;
}

std::optional<Difference> FirstDifference(const v1::Session& left,
                                          const v1::Session& right) {
  MessageDifferencer differencer;
  FirstReporter reporter;
  differencer.ReportDifferencesTo(&reporter);
  if (left.layout().segments_size() == 0 ||
      right.layout().segments_size() == 0) {
    for (const char* field : {"layout", "layout_hash"}) {
      differencer.IgnoreField(
          v1::Session::descriptor()->FindFieldByName(field));
    }
  }
  differencer.Compare(left, right);
  return std::move(reporter.first);
}

uint64_t GatheredVectors(const v1::Session& normalized) {
  return uint64_t{normalized.max_ranks_per_vector() - 1} *
         normalized.max_vectors_per_step();
}

absl::StatusOr<uint64_t> ReservedBytes(const OperatorOptions& options,
                                       bool host_accessible,
                                       bool keeps_committed,
                                       uint64_t update_history,
                                       uint64_t gathered_vectors,
                                       v1::DataType update_type) {
  // One update that is sent; one more where the last one must be kept; the
  // history; and one that commits go into where they cannot go into the update.
  const bool keeps =
      update_history > 0 ||
      (!keeps_committed &&
       std::holds_alternative<NoMomentumOptions>(options.momentum));
  const uint64_t updates = 1 + (keeps ? 1 : 0) + update_history;
  const bool apart = !host_accessible || ToHalfType(update_type).has_value();
  const uint64_t element = SizeOf(options.dtype);
  const uint64_t held =
      MomentumOperator::MemoryBytes(options, keeps_committed) +
      GatheredRows::MemoryBytes(options, gathered_vectors);
  const uint64_t most = std::numeric_limits<uint64_t>::max() - held;
  if (options.num_parameters > most / element / (updates + 1)) {
    return CheckLimit("memory_budget_bytes", "num_parameters",
                      options.num_parameters, most / element / (updates + 1));
  }
  return held + (updates * ElementBytes(update_type) + (apart ? element : 0)) *
                    options.num_parameters;
}

}  // namespace concord
