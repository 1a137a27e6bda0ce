#include "client/cli/sessions_command.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/json_line.h"
#include "client/cli/server_flags.h"
#include "client/cli/session_name.h"
#include "client/cli/table.h"
#include "google/protobuf/util/time_util.h"

namespace concord {
namespace {

struct Flags {
  ServerFlags server;
  std::string name;
  std::string checkpoint;
  std::string file;
  bool json = false;

  std::string FullName() const { return FullSessionName(name); }
};

std::string MiB(uint64_t bytes) {
  constexpr double kMiB = 1 << 20;
  return absl::StrCat(static_cast<double>(bytes) / kMiB, " MiB");
}

std::string Owner(const v1::Session& session) {
  return session.owner().empty() ? "-" : Printable(session.owner());
}

std::string ToText(const std::vector<v1::Session>& sessions) {
  std::vector<Row> rows = {{"session", "step", "losses", "parameters", "ranks",
                            "memory", "device", "owner"}};
  for (const v1::Session& session : sessions) {
    rows.push_back(
        {Printable(session.name()), absl::StrCat(session.committed_step()),
         absl::StrCat(session.num_vectors()),
         absl::StrCat(session.num_parameters()),
         absl::StrCat(session.joined_ranks(), " of ", session.num_workers()),
         MiB(session.memory_bytes()), Printable(session.device()),
         Owner(session)});
  }
  return Aligned(rows);
}

std::string ToText(const v1::Session& session) {
  const auto name_of = [](const auto& message) {
    const auto* const field = message.GetReflection()->GetOneofFieldDescriptor(
        message, message.GetDescriptor()->FindOneofByName("method"));
    return field == nullptr ? std::string("-") : field->name();
  };
  std::vector<Row> rows = {
      {"session", Printable(session.name())},
      {"uid", Printable(session.uid())},
      {"owner", Owner(session)},
      {"epoch", absl::StrCat(session.epoch())},
      {"step", absl::StrCat(session.committed_step())},
      {"combiner", name_of(session.options().combiner())},
      {"momentum", name_of(session.options().momentum())},
      {"losses", absl::StrCat(session.num_vectors())},
      {"parameters", absl::StrCat(session.num_parameters(), " of ",
                                  v1::DataType_Name(session.data_type()))},
      {"ranks",
       absl::StrCat(session.joined_ranks(), " of ", session.num_workers())},
      {"absent", session.absent_ranks().empty()
                     ? "-"
                     : absl::StrJoin(session.absent_ranks(), ", ")},
      {"durability", v1::Durability_Name(session.durability())},
      {"checkpoint",
       session.last_checkpoint_step() == 0
           ? "-"
           : absl::StrCat(session.last_checkpoint_step(), ", at ",
                          google::protobuf::util::TimeUtil::ToString(
                              session.last_checkpoint_time()))},
      {"memory", MiB(session.memory_bytes())},
      {"device", Printable(session.device())},
      {"created",
       google::protobuf::util::TimeUtil::ToString(session.create_time())}};
  return Aligned(rows);
}

absl::Status PrintSession(const Flags& flags, const Print& print,
                          const absl::StatusOr<v1::Session>& session) {
  if (!session.ok()) return session.status();
  if (!flags.json) return print(ToText(*session));
  const auto text = ToJsonLine(*session);
  return text.ok() ? print(*text) : text.status();
}

absl::Status List(Client* client, const Flags& flags, const Print& print) {
  const auto sessions = client->ListSessions();
  if (!sessions.ok()) return sessions.status();
  if (!flags.json) return print(ToText(*sessions));
  for (const v1::Session& session : *sessions) {
    const auto text = ToJsonLine(session);
    if (!text.ok()) return text.status();
    const absl::Status status = print(*text);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Describe(Client* client, const Flags& flags, const Print& print) {
  return PrintSession(flags, print, client->GetSession(flags.FullName()));
}

absl::Status Delete(Client* client, const Flags& flags, const Print&) {
  return client->DeleteSession(flags.FullName());
}

absl::Status Checkpoint(Client* client, const Flags& flags,
                        const Print& print) {
  const auto checkpoint = client->CreateCheckpoint(flags.FullName());
  if (!checkpoint.ok()) return checkpoint.status();
  if (!flags.json) return print(Printable(checkpoint->name()) + "\n");
  const auto text = ToJsonLine(*checkpoint);
  return text.ok() ? print(*text) : text.status();
}

absl::Status Checkpoints(Client* client, const Flags& flags,
                         const Print& print) {
  const auto checkpoints = client->ListCheckpoints(flags.FullName());
  if (!checkpoints.ok()) return checkpoints.status();
  for (const v1::Checkpoint& checkpoint : *checkpoints) {
    const absl::StatusOr<std::string> text =
        flags.json ? ToJsonLine(checkpoint)
                   : Printable(checkpoint.name()) + "\n";
    if (!text.ok()) return text.status();
    const absl::Status status = print(*text);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Restore(Client* client, const Flags& flags, const Print& print) {
  return PrintSession(
      flags, print, client->RestoreSession(flags.FullName(), flags.checkpoint));
}

absl::Status Export(Client* client, const Flags& flags, const Print&) {
  const auto state = client->ExportSession(flags.FullName());
  if (!state.ok()) return state.status();
  std::ofstream file(flags.file, std::ios::binary);
  file << *state << std::flush;
  if (file.good()) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("cannot write ", flags.file, ": ", std::strerror(errno)));
}

absl::Status Import(Client* client, const Flags& flags, const Print& print) {
  std::ifstream file(flags.file, std::ios::binary);
  const std::string state{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad()) {
    return absl::NotFoundError(
        absl::StrCat("cannot read ", flags.file, ": ", std::strerror(errno)));
  }
  return PrintSession(flags, print,
                      client->ImportSession(flags.FullName(), state));
}

struct Verb {
  const char* name;
  const char* description;
  absl::Status (*run)(Client*, const Flags&, const Print&);
  bool names_session = true;
};

constexpr Verb kVerbs[] = {
    {"list", "All sessions, a line each", &List, false},
    {"describe", "One session", &Describe},
    {"delete", "Delete a session with all that is stored of it", &Delete},
    {"checkpoint", "Take a checkpoint now; prints its name", &Checkpoint},
    {"checkpoints", "A session's checkpoints, also of one that is gone",
     &Checkpoints},
    {"restore", "Put a session back to a checkpoint", &Restore},
    {"export", "Write a session's state to a safetensors file", &Export},
    {"import", "Make such a file a session's state", &Import},
};

}  // namespace

Command MakeSessionsCommand(CLI::App* app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* const parser = app->add_subcommand(
      "sessions",
      "List a server's sessions, describe one, delete it, take its "
      "checkpoints and put it back to one");
  parser->require_subcommand(1);
  std::vector<std::pair<CLI::App*, const Verb*>> verbs;
  for (const Verb& verb : kVerbs) {
    CLI::App* const command =
        parser->add_subcommand(verb.name, verb.description);
    if (verb.names_session) {
      command->add_option("NAME", flags->name, "heat or sessions/heat")
          ->required();
    }
    if (verb.run == &Restore) {
      command->add_option("CHECKPOINT", flags->checkpoint,
                          "sessions/heat/checkpoints/100; default: the newest");
    }
    if (verb.run == &Export || verb.run == &Import) {
      command->add_option("FILE", flags->file)->required();
    }
    flags->server.AddTo(command)->required();
    command->add_flag("--json", flags->json, "As JSON, a message a line");
    verbs.emplace_back(command, &verb);
  }
  return {.parser = parser,
          .run = [flags, verbs](const Print& print) -> absl::Status {
            const auto client = flags->server.Connect();
            if (!client.ok()) return client.status();
            for (const auto& [command, verb] : verbs) {
              if (command->parsed()) {
                return verb->run(client->get(), *flags, print);
              }
            }
            return absl::InvalidArgumentError("which?");
          }};
}

}  // namespace concord
