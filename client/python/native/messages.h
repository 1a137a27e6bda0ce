// The server's messages as Python values.
#ifndef CONCORD_CLIENT_PYTHON_NATIVE_MESSAGES_H_
#define CONCORD_CLIENT_PYTHON_NATIVE_MESSAGES_H_

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>

#include "client/python/native/errors.h"
#include "concord/v1/step.pb.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/util/json_util.h"
#include "operators/errors.h"

namespace concord::python {

// Of a repeated field.
template <typename Field>
nanobind::list ToList(const Field& values) {
  nanobind::list list;
  for (const auto& value : values) list.append(value);
  return list;
}

// A message of the contract from protobuf's JSON form.
template <class Message>
Message ParseJson(const std::string& json) {
  Message message;
  if (!google::protobuf::util::JsonStringToMessage(json, &message).ok()) {
    Raise(InvalidField("INVALID_OPTION", "options", json,
                       "a " + Message::descriptor()->full_name()));
  }
  return message;
}

double ToSeconds(const google::protobuf::Duration& duration);

// The items of concord.results.StepResult, but for `update` and `attempts`.
nanobind::dict ToDict(const v1::StepResult& step,
                      const v1::StepTrailer& trailer);

}  // namespace concord::python

#endif  // CONCORD_CLIENT_PYTHON_NATIVE_MESSAGES_H_
