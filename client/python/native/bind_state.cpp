// States and checkpoints of sessions on a server, and the checksum of a state.
#include <nanobind/stl/string.h>

#include <string>

#include "client/cpp/client.h"
#include "client/python/native/bind.h"
#include "client/python/native/errors.h"
#include "proto/wire/checksum.h"

namespace concord::python {

namespace nb = nanobind;

namespace {

// `call(client, options)` on a connection of its own, without the GIL.
template <typename Function>
auto Ask(const std::string& server, double timeout, const Function& call) {
  CallOptions options;
  options.timeout = absl::Seconds(timeout);
  const auto ask = [&]() -> decltype(call(std::declval<Client&>(), options)) {
    const nb::gil_scoped_release release;
    const auto client = Client::Connect(server, ClientOptionsFromEnvironment());
    if (!client.ok()) return client.status();
    return call(**client, options);
  };
  return ValueOrRaise(ask());
}

nb::dict ToDict(const v1::Checkpoint& checkpoint) {
  nb::dict result;
  result["name"] = checkpoint.name();
  result["step"] = checkpoint.step();
  result["size_bytes"] = checkpoint.size_bytes();
  result["create_time"] =
      static_cast<double>(checkpoint.create_time().seconds()) +
      1e-9 * checkpoint.create_time().nanos();
  return result;
}

nb::dict ToDict(const v1::Session& session) {
  nb::dict result;
  result["uid"] = session.uid();
  result["epoch"] = session.epoch();
  result["committed_step"] = session.committed_step();
  return result;
}

absl::string_view View(const nb::bytes& bytes) {
  return {bytes.c_str(), bytes.size()};
}

}  // namespace

void BindState(nb::module_& module) {
  module.def("checksum", [](const nb::bytes& bytes) {
    return wire::ChecksumOf(
        {reinterpret_cast<const std::byte*>(bytes.c_str()), bytes.size()});
  });
  module.def(
      "create_checkpoint",
      [](const std::string& server, const std::string& name, double timeout) {
        return ToDict(Ask(server, timeout, [&](Client& client, auto& options) {
          return client.CreateCheckpoint(name, options);
        }));
      },
      nb::arg("server"), nb::arg("name"), nb::arg("timeout"));
  module.def(
      "list_checkpoints",
      [](const std::string& server, const std::string& name, double timeout) {
        nb::list list;
        for (const v1::Checkpoint& checkpoint :
             Ask(server, timeout, [&](Client&client, auto&options) {
               return client.ListCheckpoints(name, options);
             })) {
          list.append(ToDict(checkpoint));
        }
        return list;
      },
      nb::arg("server"), nb::arg("name"), nb::arg("timeout"));
  module.def(
      "restore_session",
      [](const std::string& server, const std::string& name,
         const std::string& checkpoint, double timeout) {
        return ToDict(Ask(server, timeout, [&](Client& client, auto& options) {
          return client.RestoreSession(name, checkpoint, options);
        }));
      },
      nb::arg("server"), nb::arg("name"), nb::arg("checkpoint"),
      nb::arg("timeout"));
  module.def(
      "export_session",
      [](const std::string& server, const std::string& name, double timeout) {
        const std::string file =
            Ask(server, timeout, [&](Client& client, auto& options) {
              return client.ExportSession(name, options);
            });
        return nb::bytes(file.data(), file.size());
      },
      nb::arg("server"), nb::arg("name"), nb::arg("timeout"));
  module.def(
      "import_session",
      [](const std::string& server, const std::string& name,
         const nb::bytes& file, double timeout) {
        // Taken before the GIL is let go.
        const absl::string_view bytes = View(file);
        return ToDict(Ask(server, timeout, [&](Client& client, auto& options) {
          return client.ImportSession(name, bytes, options);
        }));
      },
      nb::arg("server"), nb::arg("name"), nb::arg("file"), nb::arg("timeout"));
}

}  // namespace concord::python
