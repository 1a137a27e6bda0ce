#include "client/python/native/errors.h"

#include <nanobind/nanobind.h>

#include <string>

#include "operators/errors.h"

namespace concord::python {

namespace nb = nanobind;

void Raise(const absl::Status& status) {
  const ErrorDetail detail = GetErrorDetail(status).value_or(ErrorDetail{});
  nb::dict metadata;
  for (const auto& [key, value] : detail.metadata) {
    metadata[nb::str(key.c_str(), key.size())] =
        nb::str(value.c_str(), value.size());
  }
  const std::string code = absl::StatusCodeToString(status.code());
  const std::string message(status.message());
  const nb::object error =
      nb::module_::import_("concord.errors")
          .attr("from_status")(nb::str(code.c_str(), code.size()),
                               nb::str(message.c_str(), message.size()),
                               nb::str(detail.reason.c_str()),
                               nb::str(detail.field.c_str()),
                               nb::str(detail.value.c_str()),
                               nb::str(detail.accepted.c_str()), metadata);
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())),
                  error.ptr());
  throw nb::python_error();
}

}  // namespace concord::python
