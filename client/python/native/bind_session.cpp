#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "client/python/native/bind.h"
#include "client/python/native/call.h"
#include "client/python/native/errors.h"
#include "client/python/native/messages.h"
#include "client/python/native/proto_options.h"
#include "client/python/native/remote.h"
#include "proto/options/combiner_options.h"
#include "proto/options/element_type.h"

namespace concord::python {

namespace nb = nanobind;

namespace {

std::unique_ptr<RemoteSession> OpenSession(
    std::shared_ptr<Kernels> host, const std::string& server,
    const std::string& session_id, std::optional<OperatorOptions> options,
    const std::string& session_options, const std::string& restore_from,
    uint32_t rank, const std::string& uid, uint64_t epoch,
    std::optional<uint64_t> resume_step, size_t chunk_bytes, bool shared_memory,
    double timeout, const std::string& traceparent) {
  RemoteSettings settings{.server = server,
                          .session_id = session_id,
                          .options = std::move(options),
                          .session = ParseJson<v1::Session>(session_options),
                          .restore_from = restore_from,
                          .worker = {},
                          .chunk_bytes = chunk_bytes,
                          .shared_memory = shared_memory,
                          .traceparent = {}};
  settings.traceparent = traceparent;
  settings.worker.rank = rank;
  settings.worker.uid = uid;
  settings.worker.epoch = epoch;
  if (resume_step.has_value()) settings.worker.resume_step = *resume_step;
  absl::StatusOr<std::unique_ptr<RemoteSession>> session;
  {
    const nb::gil_scoped_release release;
    session = RemoteSession::Open(settings, std::move(host), MakeCall(timeout));
  }
  return ResultOrRaise(std::move(session));
}

// What a step found, as Python values only when somebody looks.
struct Found {
  StepOutcome outcome;
};

// `as_sent`: the elements are of the session's gradient_type already.
std::vector<StepVector> ToVectors(const RemoteSession& session,
                                  const std::vector<int>& indexes,
                                  const std::vector<uintptr_t>& addresses,
                                  const std::vector<double>& sample_weights,
                                  bool as_sent) {
  const v1::Joined& joined = session.joined();
  std::vector<StepVector> contributions;
  for (size_t i = 0; i < indexes.size(); ++i) {
    contributions.push_back(
        {indexes[i], reinterpret_cast<const void*>(addresses.at(i)),
         sample_weights.at(i),
         as_sent ? joined.gradient_type() : joined.data_type()});
  }
  return contributions;
}

StepOptions ToStepOptions(const std::vector<int>& active, double timeout) {
  StepOptions options;
  options.active = active;
  options.timeout = absl::Seconds(timeout);
  options.is_cancelled = &SignalRaised;
  return options;
}

// `call` without the GIL; raises what it returns, the signal's exception first.
template <class Function>
void CallOrRaise(const Function& call) {
  absl::Status status;
  {
    const nb::gil_scoped_release release;
    status = call();
  }
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  RaiseIfError(status);
}

nb::tuple Step(RemoteSession& session, const std::vector<int>& indexes,
               const std::vector<uintptr_t>& addresses,
               const std::vector<double>& sample_weights,
               const std::vector<int>& loss_indexes,
               const std::vector<double>& losses,
               const std::vector<double>& loss_weights,
               const std::vector<int>& active, double timeout, bool as_sent,
               uintptr_t into, const std::string& traceparent) {
  const std::vector<StepVector> contributions =
      ToVectors(session, indexes, addresses, sample_weights, as_sent);
  StepOptions options = ToStepOptions(active, timeout);
  options.traceparent = traceparent;
  std::vector<StepLoss> values;
  for (size_t i = 0; i < loss_indexes.size(); ++i) {
    values.push_back({loss_indexes[i], losses.at(i), loss_weights.at(i)});
  }
  absl::StatusOr<RemoteSession::Result> result;
  {
    const nb::gil_scoped_release release;
    result = session.Step(contributions, values, options,
                          reinterpret_cast<void*>(into));
  }
  RemoteSession::Result step = ResultOrRaise(std::move(result));
  return nb::make_tuple(nb::cast(std::move(step.update)),
                        nb::cast(Found{std::move(step.outcome)}));
}

std::unique_ptr<ResultBuffer> Combine(const std::string& server,
                                      const OperatorOptions& options,
                                      std::shared_ptr<Kernels> host,
                                      const std::vector<uintptr_t>& addresses,
                                      double timeout) {
  v1::CombineHeader header;
  *header.mutable_combiner() = ToMessage(options.combiner);
  header.set_num_vectors(options.num_vectors);
  header.set_num_parameters(options.num_parameters);
  header.set_data_type(ToProto(options.dtype));
  std::vector<const void*> vectors;
  for (const uintptr_t address : addresses) {
    vectors.push_back(reinterpret_cast<const void*>(address));
  }
  absl::StatusOr<std::unique_ptr<ResultBuffer>> result;
  {
    const nb::gil_scoped_release release;
    result = [&]() -> absl::StatusOr<std::unique_ptr<ResultBuffer>> {
      auto client = Client::Connect(server, ClientOptionsFromEnvironment());
      if (!client.ok()) return client.status();
      auto pool = std::make_shared<ResultPool>(
          std::move(host), options.num_parameters * SizeOf(options.dtype));
      auto buffer = pool->Take();
      if (!buffer.ok()) return buffer.status();
      const auto outcome = (*client)->Combine(
          header, vectors, (*buffer)->data(), MakeCall(timeout));
      if (!outcome.ok()) return outcome.status();
      return buffer;
    }();
  }
  return ResultOrRaise(std::move(result));
}

nb::dict ServerInfo(const std::string& server, double timeout) {
  absl::StatusOr<v1::ServerInfo> info;
  {
    const nb::gil_scoped_release release;
    auto client = Client::Connect(server, ClientOptionsFromEnvironment());
    info = client.ok() ? (*client)->GetServerInfo(MakeCall(timeout))
                       : absl::StatusOr<v1::ServerInfo>(client.status());
  }
  const v1::ServerInfo found = ResultOrRaise(std::move(info));
  nb::dict result;
  result["version"] = found.version();
  result["device"] = found.device();
  result["threads"] = found.threads();
  result["combiners"] = ToList(found.combiners());
  result["momentum_operators"] = ToList(found.momentum_operators());
  result["loss_recorders"] = ToList(found.loss_recorders());
  result["sessions"] = found.sessions();
  result["streams"] = found.streams();
  result["memory_reserved_bytes"] = found.memory_reserved_bytes();
  return result;
}

}  // namespace

void BindSession(nb::module_& module) {
  nb::class_<Found>(module, "Found")
      .def("as_dict",
           [](const Found& found) {
             nb::dict result =
                 ToDict(found.outcome.result, found.outcome.trailer);
             result["attempts"] = found.outcome.attempts;
             return result;
           })
      .def_prop_ro("losses", [](const Found& found) {
        return ToList(found.outcome.result.losses());
      });
  nb::class_<RemoteSession>(module, "RemoteSession")
      .def(nb::new_(&OpenSession), nb::arg("host"), nb::kw_only(),
           nb::arg("server"), nb::arg("session_id"),
           nb::arg("options") = nb::none(), nb::arg("session_options") = "{}",
           nb::arg("restore_from") = "", nb::arg("rank") = 0,
           nb::arg("uid") = "", nb::arg("epoch") = 0,
           nb::arg("resume_step") = nb::none(), nb::arg("chunk_bytes") = 0,
           nb::arg("shared_memory") = true, nb::arg("timeout") = 20.0,
           nb::arg("traceparent") = "")
      .def("step", &Step, nb::arg("indexes"), nb::arg("addresses"),
           nb::arg("sample_weights"), nb::arg("loss_indexes"),
           nb::arg("losses"), nb::arg("loss_weights"), nb::arg("active"),
           nb::arg("timeout"), nb::arg("as_sent") = false, nb::arg("into") = 0,
           nb::arg("traceparent") = "")
      .def("take_gradient",
           [](RemoteSession& session) {
             return ResultOrRaise([&] {
               const nb::gil_scoped_release release;
               return session.TakeGradient();
             }());
           })
      .def(
          "update",
          [](RemoteSession& session, const OperatorOptions& options,
             double timeout) {
            CallOrRaise(
                [&] { return session.Update(options, MakeCall(timeout)); });
          },
          nb::arg("options"), nb::arg("timeout"))
      .def(
          "accumulate",
          [](RemoteSession& session, const std::vector<int>& indexes,
             const std::vector<uintptr_t>& addresses,
             const std::vector<double>& sample_weights, double timeout,
             bool as_sent) {
            const std::vector<StepVector> contributions =
                ToVectors(session, indexes, addresses, sample_weights, as_sent);
            const StepOptions options = ToStepOptions({}, timeout);
            CallOrRaise(
                [&] { return session.Accumulate(contributions, options); });
          },
          nb::arg("indexes"), nb::arg("addresses"), nb::arg("sample_weights"),
          nb::arg("timeout"), nb::arg("as_sent") = false)
      .def(
          "leave",
          [](RemoteSession& session, double timeout) {
            CallOrRaise([&] { return session.Leave(MakeCall(timeout)); });
          },
          nb::arg("timeout"))
      .def("close", &RemoteSession::Close,
           nb::call_guard<nb::gil_scoped_release>())
      .def(
          "delete",
          [](RemoteSession& session, double timeout) {
            CallOptions call;  // Of finalizers too: signals are not asked.
            call.timeout = absl::Seconds(timeout);
            CallOrRaise([&] { return session.Delete(call); });
          },
          nb::arg("timeout"))
      .def_prop_ro("name", &RemoteSession::name)
      .def_prop_ro("uid",
                   [](const RemoteSession& s) { return s.joined().uid(); })
      .def_prop_ro("epoch",
                   [](const RemoteSession& s) { return s.joined().epoch(); })
      .def_prop_ro(
          "num_vectors",
          [](const RemoteSession& s) { return s.joined().num_vectors(); })
      .def_prop_ro(
          "num_parameters",
          [](const RemoteSession& s) { return s.joined().num_parameters(); })
      .def_prop_ro("dtype",
                   [](const RemoteSession& s) {
                     return s.joined().data_type() == v1::FLOAT64 ? "float64"
                                                                  : "float32";
                   })
      .def_prop_ro(
          "gradient_type",
          [](const RemoteSession& s) {
            return absl::AsciiStrToLower(NameOf(s.joined().gradient_type()));
          })
      .def_prop_ro("applied_step", &RemoteSession::applied_step);
  module.def("combine", &Combine, nb::arg("server"), nb::arg("options"),
             nb::arg("host"), nb::arg("addresses"), nb::arg("timeout"));
  module.def("server_info", &ServerInfo, nb::arg("server"),
             nb::arg("timeout") = 20.0);
}

}  // namespace concord::python
