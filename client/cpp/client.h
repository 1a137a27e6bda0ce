// A channel to a Concord server: sessions, stateless combination, and the door
// to a worker's stream of steps (session.h).
//
//   auto client = concord::Client::Connect("127.0.0.1:7070");
//   concord::v1::CreateSessionRequest request;
//   request.set_session_id("heat");
//   request.mutable_session()->set_num_vectors(2);
//   request.mutable_session()->set_num_parameters(n);
//   auto session = (*client)->AttachOrCreate(request);
//   concord::WorkerOptions worker;
//   worker.session = session->name();
//   auto steps = (*client)->OpenWorker(worker);
//
// Errors. Those of the server arrive with the code, message and ErrorDetail
// (operators/errors.h) that it gave them; proto/concord/v1/errors.proto is the
// manual of their reasons. UNAVAILABLE is retried within a call's timeout.
//
// Threads. A Client may be used by several threads at once. Two Clients never
// share a connection, and every worker's stream has one of its own.
//
// Fork. In a forked child a Client must not be used (calls are refused with
// FAILED_PRECONDITION) and may be destroyed: what it holds is left alone, so
// that the parent's connections go on undisturbed.
#ifndef CONCORD_CLIENT_CPP_CLIENT_H_
#define CONCORD_CLIENT_CPP_CLIENT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cpp/options.h"
#include "client/cpp/session.h"
#include "client/cpp/step_watch.h"
#include "concord/v1/checkpoint.pb.h"
#include "concord/v1/combine.pb.h"
#include "concord/v1/server_info.pb.h"
#include "concord/v1/session.pb.h"
#include "concord/v1/statistics.pb.h"

namespace concord {

// What Client::Combine found, beside the combined vector itself.
struct CombineOutcome {
  v1::CombineResult result;
  uint32_t attempts = 0;
};

class Client {
 public:
  // `server` is "HOST:PORT" or "unix:/path". Opens no connection yet: the first
  // call does, and reports a server that cannot be reached. An HTTP proxy named
  // by the environment is not used. INVALID_ARGUMENT for a malformed address or
  // option.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(
      absl::string_view server, const ClientOptions& options = {});

  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  const std::string& server() const;

  absl::StatusOr<v1::ServerInfo> GetServerInfo(const CallOptions& options = {});

  // What the server has done since its start, and its sessions; with a name of
  // that session alone (statistics.proto).
  absl::StatusOr<v1::ServerStatistics> GetServerStatistics(
      absl::string_view session = "", const CallOptions& options = {});

  // Whether the server takes work: not while it starts or shuts down.
  absl::StatusOr<bool> IsServing(const CallOptions& options = {});

  // A retry of a creation whose answer was lost gets ALREADY_EXISTS; use
  // AttachOrCreate where that is no error.
  absl::StatusOr<v1::Session> CreateSession(
      const v1::CreateSessionRequest& request, const CallOptions& options = {});

  // The session of that id with these options, created if there is none. What
  // all ranks of a job call. ALREADY_EXISTS where one with other options
  // exists; its ErrorDetail (and message) names the first field that differs.
  // INVALID_ARGUMENT without a session_id.
  absl::StatusOr<v1::Session> AttachOrCreate(
      const v1::CreateSessionRequest& request, const CallOptions& options = {});

  // `name` is "sessions/{id}".
  absl::StatusOr<v1::Session> GetSession(absl::string_view name,
                                         const CallOptions& options = {});

  // All sessions, by name; asks for as many pages as there are.
  absl::StatusOr<std::vector<v1::Session>> ListSessions(
      const CallOptions& options = {});

  // Changes options between two steps; session.proto says which and when.
  absl::StatusOr<v1::Session> UpdateSession(
      const v1::UpdateSessionRequest& request, const CallOptions& options = {});

  // Makes a layout the session's: epoch + 1, workers join again with the last
  // step they have applied. What every rank may ask for; session.proto says
  // what is kept.
  absl::StatusOr<v1::Session> UpdateLayout(
      const v1::UpdateLayoutRequest& request, const CallOptions& options = {});

  // With a `uid` only that creation is deleted. A retry of a deletion whose
  // answer was lost gets NOT_FOUND, which then counts as success.
  absl::Status DeleteSession(absl::string_view name, absl::string_view uid = "",
                             const CallOptions& options = {});

  // ---- State and checkpoints (checkpoint.proto) ----

  // Takes one of the last committed step, or finds it.
  absl::StatusOr<v1::Checkpoint> CreateCheckpoint(
      absl::string_view session, const CallOptions& options = {});

  // By step; also of a session that is gone.
  absl::StatusOr<std::vector<v1::Checkpoint>> ListCheckpoints(
      absl::string_view session, const CallOptions& options = {});

  // Puts the session back to a checkpoint, the newest where `checkpoint` is
  // empty: epoch + 1. Workers join again, with its committed step as
  // resume_step. A retry whose first answer was lost restores once more, to the
  // same state.
  absl::StatusOr<v1::Session> RestoreSession(absl::string_view name,
                                             absl::string_view checkpoint = "",
                                             const CallOptions& options = {});

  // The session's last committed state as a safetensors file.
  absl::StatusOr<std::string> ExportSession(absl::string_view name,
                                            const CallOptions& options = {});

  // Makes such a file the session's state: epoch + 1, as RestoreSession.
  absl::StatusOr<v1::Session> ImportSession(absl::string_view name,
                                            absl::string_view file,
                                            const CallOptions& options = {});

  // Follows a session's steps from the last committed one on; with a `uid` only
  // those of that creation. The StepWatch has a connection of its own, may
  // outlive the Client, and reports what is wrong at its first Next.
  absl::StatusOr<std::unique_ptr<StepWatch>> Watch(absl::string_view name,
                                                   absl::string_view uid = "");

  // Combines num_vectors vectors of num_parameters elements of the header's
  // data type. `vectors[i]` and `result` (as long as one vector, not
  // overlapping any) are the caller's host memory; the result may be half
  // written when the call fails.
  absl::StatusOr<CombineOutcome> Combine(const v1::CombineHeader& header,
                                         absl::Span<const void* const> vectors,
                                         void* result,
                                         const CallOptions& options = {});

  // Coefficients from a Gram matrix.
  absl::StatusOr<v1::SolveResponse> Solve(const v1::SolveRequest& request,
                                          const CallOptions& options = {});

  // Joins a session as one of its ranks. The WorkerSession has a connection of
  // its own and may outlive the Client.
  absl::StatusOr<std::unique_ptr<WorkerSession>> OpenWorker(
      const WorkerOptions& worker, const CallOptions& options = {});

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace concord

#endif  // CONCORD_CLIENT_CPP_CLIENT_H_
