#include "proto/options/layout.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/util/message_differencer.h"
#include "proto/wire/checksum.h"

namespace concord {
namespace {

std::string Spell(const v1::Layout& layout, int position) {
  if (position >= layout.segments_size()) return "none";
  const v1::Layout::Segment& segment = layout.segments(position);
  return absl::StrCat(
      "\"", segment.name(), "\" (", absl::StrJoin(segment.shape(), ", "), ")",
      segment.group().empty() ? "" : absl::StrCat(" of ", segment.group()));
}

}  // namespace

uint64_t LayoutHash(const v1::Layout& layout) {
  if (layout.segments_size() == 0) return 0;
  const std::string bytes = layout.SerializeAsString();
  return wire::ChecksumOf(absl::MakeConstSpan(
      reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()));
}

LayoutSegments ToSegments(const v1::Layout& layout) {
  LayoutSegments segments;
  for (const v1::Layout::Segment& segment : layout.segments()) {
    segments.push_back(
        {segment.name(), {segment.shape().begin(), segment.shape().end()}});
  }
  return segments;
}

std::optional<LayoutDifference> FirstDifference(const v1::Layout& left,
                                                const v1::Layout& right) {
  using google::protobuf::util::MessageDifferencer;
  for (int i = 0; i < std::max(left.segments_size(), right.segments_size());
       ++i) {
    if (i < left.segments_size() && i < right.segments_size() &&
        MessageDifferencer::Equals(left.segments(i), right.segments(i))) {
      continue;
    }
    return LayoutDifference{absl::StrCat("layout.segments[", i, "]"),
                            Spell(left, i), Spell(right, i)};
  }
  return std::nullopt;
}

}  // namespace concord
