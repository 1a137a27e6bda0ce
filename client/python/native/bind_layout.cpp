// Layouts: of engines, of sessions, and of vectors in Python's own hands.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/cpp/client.h"
#include "client/python/native/bind.h"
#include "client/python/native/call.h"
#include "client/python/native/engine.h"
#include "client/python/native/errors.h"
#include "client/python/native/messages.h"
#include "operators/momentum/layout.h"

namespace concord::python {

namespace nb = nanobind;

namespace {

// (name, shape) of each.
using Segments = std::vector<std::pair<std::string, std::vector<uint64_t>>>;

LayoutChange Match(const Segments& previous, const Segments& layout) {
  const auto convert = [](const Segments& from) {
    LayoutSegments segments;
    for (const auto& [name, shape] : from) segments.push_back({name, shape});
    return segments;
  };
  return ValueOrRaise(MatchLayouts(convert(previous), convert(layout)));
}

}  // namespace

void BindLayout(nb::module_& module) {
  module.def(
      "engine_with_layout",
      [](Engine& engine, const OperatorOptions& options,
         const Segments& previous, const Segments& layout) {
        const LayoutChange change = Match(previous, layout);
        absl::StatusOr<std::unique_ptr<Engine>> successor;
        {
          const nb::gil_scoped_release release;
          successor = engine.WithLayout(options, change);
        }
        return ValueOrRaise(std::move(successor));
      },
      nb::arg("engine"), nb::arg("options"), nb::arg("previous"),
      nb::arg("layout"));
  module.def(
      "layout_runs",
      [](const Segments& previous, const Segments& layout) {
        nb::list runs;
        for (const LayoutChange::Run& run : Match(previous, layout).runs) {
          runs.append(nb::make_tuple(run.from, run.to, run.count));
        }
        return runs;
      },
      nb::arg("previous"), nb::arg("layout"));
  module.def(
      "update_layout",
      [](const std::string& server, const std::string& name,
         const std::string& uid, const std::string& layout,
         const std::string& previous, double timeout) {
        v1::UpdateLayoutRequest request;
        request.set_name(name);
        request.set_uid(uid);
        *request.mutable_layout() = ParseJson<v1::Layout>(layout);
        if (!previous.empty()) {
          *request.mutable_previous() = ParseJson<v1::Layout>(previous);
        }
        absl::StatusOr<v1::Session> session;
        {
          const nb::gil_scoped_release release;
          const auto client =
              Client::Connect(server, ClientOptionsFromEnvironment());
          session = client.ok()
                        ? (*client)->UpdateLayout(request, MakeCall(timeout))
                        : client.status();
        }
        return ResultOrRaise(std::move(session)).num_parameters();
      },
      nb::arg("server"), nb::arg("name"), nb::arg("uid"), nb::arg("layout"),
      nb::arg("previous"), nb::arg("timeout"));
}

}  // namespace concord::python
