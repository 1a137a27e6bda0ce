// Element types of vectors on the wire.
#ifndef CONCORD_PROTO_OPTIONS_ELEMENT_TYPE_H_
#define CONCORD_PROTO_OPTIONS_ELEMENT_TYPE_H_

#include <cstddef>
#include <optional>
#include <string>

#include "concord/v1/operators.pb.h"
#include "concord/v1/session.pb.h"
#include "operators/kernels/half_types.h"

namespace concord {

// Bytes of an element; 4 of one whose type is not set, which is FLOAT32.
size_t ElementBytes(v1::DataType type);

// Nothing for the types of sessions.
std::optional<HalfType> ToHalfType(v1::DataType type);

// Its name, or its number where it has none.
std::string NameOf(v1::DataType type);

// Gives the session's gradient_type and update_type, where they are not set,
// their default: data_type, which is set.
void FillWireTypes(v1::Session* session);

}  // namespace concord

#endif  // CONCORD_PROTO_OPTIONS_ELEMENT_TYPE_H_
