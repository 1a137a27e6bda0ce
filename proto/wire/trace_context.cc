#include "proto/wire/trace_context.h"

#include <algorithm>
#include <cstddef>

namespace concord {
namespace {

constexpr size_t kVersionEnd = 2, kTraceEnd = 35, kSpanEnd = 52, kLength = 55;

bool IsHex(absl::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

bool IsId(absl::string_view text) {
  return IsHex(text) && text.find_first_not_of('0') != absl::string_view::npos;
}

bool HasLowestBit(char hex) {
  return ((hex >= 'a' ? hex - 'a' + 10 : hex - '0') & 1) != 0;
}

}  // namespace

TraceContext ParseTraceparent(absl::string_view traceparent) {
  if (traceparent.size() < kLength) return {};
  for (const size_t dash : {kVersionEnd, kTraceEnd, kSpanEnd}) {
    if (traceparent[dash] != '-') return {};
  }
  const absl::string_view version = traceparent.substr(0, kVersionEnd);
  const absl::string_view trace =
      traceparent.substr(kVersionEnd + 1, kTraceEnd - kVersionEnd - 1);
  const absl::string_view span =
      traceparent.substr(kTraceEnd + 1, kSpanEnd - kTraceEnd - 1);
  const absl::string_view flags =
      traceparent.substr(kSpanEnd + 1, kLength - kSpanEnd - 1);
  const bool ends_well = traceparent.size() == kLength ||
                         (version != "00" && traceparent[kLength] == '-');
  if (!ends_well || !IsHex(version) || version == "ff" || !IsId(trace) ||
      !IsId(span) || !IsHex(flags)) {
    return {};
  }
  return {std::string(trace), std::string(span), HasLowestBit(flags.back())};
}

}  // namespace concord
