#include "proto/options/element_type.h"

#include "absl/strings/str_cat.h"

namespace concord {

size_t ElementBytes(v1::DataType type) {
  if (ToHalfType(type).has_value()) return kHalfBytes;
  return type == v1::FLOAT64 ? 8 : 4;
}

std::optional<HalfType> ToHalfType(v1::DataType type) {
  switch (type) {
    case v1::BFLOAT16:
      return HalfType::kBfloat16;
    case v1::FLOAT16:
      return HalfType::kFloat16;
    default:
      return std::nullopt;
  }
}

std::string NameOf(v1::DataType type) {
  return v1::DataType_IsValid(type) ? v1::DataType_Name(type)
                                    : absl::StrCat(static_cast<int>(type));
}

void FillWireTypes(v1::Session* session) {
  if (session->gradient_type() == v1::DATA_TYPE_UNSPECIFIED) {
    session->set_gradient_type(session->data_type());
  }
  if (session->update_type() == v1::DATA_TYPE_UNSPECIFIED) {
    session->set_update_type(session->data_type());
  }
}

}  // namespace concord
