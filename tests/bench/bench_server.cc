#include "tests/bench/bench_server.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace concord::bench {

absl::StatusOr<std::unique_ptr<BenchServer>> BenchServer::Start(
    int threads, bool on_unix_socket, const std::string& certificates) {
  std::string folder;
  if (on_unix_socket) {
    folder = std::filesystem::temp_directory_path() / "concord-bench-XXXXXX";
    if (mkdtemp(folder.data()) == nullptr) {
      return absl::InternalError(
          absl::StrCat("cannot make ", folder, ": ", std::strerror(errno)));
    }
  }
  std::unique_ptr<BenchServer> server(new BenchServer(std::move(folder)));
  const absl::Status status = server->Spawn(threads, certificates);
  if (!status.ok()) return status;
  return server;
}

absl::Status BenchServer::Spawn(int threads, const std::string& certificates) {
  const std::string program =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() /
      "concord-server";
  const std::string threads_flag = absl::StrCat("--threads=", threads);
  const std::string listen_flag =
      folder_.empty() ? "--listen=127.0.0.1:0"
                      : absl::StrCat("--listen=unix:", folder_, "/socket");
  const std::string cert_flag =
      absl::StrCat("--tls-cert=", certificates, "/server.pem");
  const std::string key_flag =
      absl::StrCat("--tls-key=", certificates, "/server.key");
  std::vector<const char*> arguments = {program.c_str(), listen_flag.c_str(),
                                        "--device=cpu", threads_flag.c_str()};
  if (!certificates.empty()) {
    arguments.push_back(cert_flag.c_str());
    arguments.push_back(key_flag.c_str());
  }
  arguments.push_back(nullptr);
  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) {
    return absl::InternalError(absl::StrCat("pipe: ", std::strerror(errno)));
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
  // Its log: one line for every stream.
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null",
                                   O_WRONLY, 0);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, program.c_str(), &actions, nullptr,
                  const_cast<char* const*>(arguments.data()), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(output[1]);
  if (error != 0) {
    close(output[0]);
    return absl::InternalError(
        absl::StrCat(program, ": ", std::strerror(error)));
  }
  pid_ = pid;
  const absl::Status status = ReadAddress(output[0]);
  close(output[0]);
  return status;
}

absl::Status BenchServer::ReadAddress(int output) {
  std::string line;
  char letter;
  while (read(output, &letter, 1) == 1 && letter != '\n') line += letter;
  constexpr absl::string_view kBegin = "listening on ";
  if (!absl::StartsWith(line, kBegin)) {
    return absl::InternalError(
        absl::StrCat("concord-server did not come up: \"", line, "\""));
  }
  address_ = std::string(absl::StripPrefix(line, kBegin));
  return absl::OkStatus();
}

BenchServer::~BenchServer() {
  if (pid_ != 0) {
    kill(pid_, SIGTERM);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  std::error_code gone;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, gone);
}

}  // namespace concord::bench
