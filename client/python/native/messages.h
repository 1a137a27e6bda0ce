// The server's messages as Python values.
#ifndef CONCORD_CLIENT_PYTHON_NATIVE_MESSAGES_H_
#define CONCORD_CLIENT_PYTHON_NATIVE_MESSAGES_H_

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "concord/v1/step.pb.h"
#include "google/protobuf/duration.pb.h"

namespace concord::python {

// Of a repeated field.
template <typename Field>
nanobind::list ToList(const Field& values) {
  nanobind::list list;
  for (const auto& value : values) list.append(value);
  return list;
}

double ToSeconds(const google::protobuf::Duration& duration);

// The items of concord.results.StepResult, but for `update` and `attempts`.
nanobind::dict ToDict(const v1::StepResult& step,
                      const v1::StepTrailer& trailer);

}  // namespace concord::python

#endif  // CONCORD_CLIENT_PYTHON_NATIVE_MESSAGES_H_
