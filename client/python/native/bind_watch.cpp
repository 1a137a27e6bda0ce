// A watch on a session's steps.
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>

#include <memory>
#include <string>

#include "client/cpp/client.h"
#include "client/python/native/bind.h"
#include "client/python/native/call.h"
#include "client/python/native/messages.h"

namespace concord::python {

namespace nb = nanobind;

namespace {

std::unique_ptr<StepWatch> Open(const std::string& server,
                                const std::string& name,
                                const std::string& uid) {
  auto client =
      ValueOrRaise(Client::Connect(server, ClientOptionsFromEnvironment()));
  return ValueOrRaise(client->Watch(name, uid));
}

nb::dict Next(StepWatch& watch, double timeout) {
  absl::StatusOr<v1::StepDiagnostics> step;
  {
    const nb::gil_scoped_release release;
    step = watch.Next(MakeCall(timeout));
  }
  const v1::StepDiagnostics told = ResultOrRaise(std::move(step));
  nb::dict result;
  result["result"] = ToDict(told.result(), told.trailer());
  result["epoch"] = told.result().epoch();
  nb::dict ranks;
  for (const v1::StepDiagnostics::Rank& rank : told.ranks()) {
    nb::dict times;
    times["receive"] = ToSeconds(rank.receive());
    times["wait"] = ToSeconds(rank.wait());
    ranks[nb::int_(rank.rank())] = times;
  }
  result["ranks"] = ranks;
  result["commit_time"] = static_cast<double>(told.commit_time().seconds()) +
                          1e-9 * told.commit_time().nanos();
  result["steps"] = told.steps();
  return result;
}

}  // namespace

void BindWatch(nb::module_& module) {
  nb::class_<StepWatch>(module, "StepWatch")
      .def(nb::new_(&Open), nb::arg("server"), nb::arg("name"),
           nb::arg("uid") = "")
      .def("next", &Next, nb::arg("timeout"));
}

}  // namespace concord::python
