// Layouts: what the contract's messages say of the parameters in a vector.
#ifndef CONCORD_PROTO_OPTIONS_LAYOUT_H_
#define CONCORD_PROTO_OPTIONS_LAYOUT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "concord/v1/session.pb.h"
#include "operators/momentum/layout.h"

namespace concord {

// See concord.v1.Session.layout_hash. 0 without segments.
uint64_t LayoutHash(const v1::Layout& layout);

// What the engine knows of segments: names and shapes.
LayoutSegments ToSegments(const v1::Layout& layout);

// The first segment in which two layouts differ.
struct LayoutDifference {
  std::string field;        // "layout.segments[1]"
  std::string left, right;  // `"head.bias" (4)`; "none" where one has ended.
};
std::optional<LayoutDifference> FirstDifference(const v1::Layout& left,
                                                const v1::Layout& right);

}  // namespace concord

#endif  // CONCORD_PROTO_OPTIONS_LAYOUT_H_
