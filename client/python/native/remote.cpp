#include "client/python/native/remote.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/python/native/proto_options.h"
#include "operators/errors.h"
#include "proto/options/element_type.h"
#include "proto/options/layout.h"
#include "proto/options/operator_options.h"

namespace concord::python {

namespace {

absl::Status Closed() {
  return absl::FailedPreconditionError("the session is closed");
}

absl::StatusOr<v1::Session> FindSession(Client& client,
                                        const RemoteSettings& settings,
                                        const CallOptions& call) {
  if (!settings.options.has_value()) {
    return client.GetSession(absl::StrCat("sessions/", settings.session_id),
                             call);
  }
  v1::CreateSessionRequest request;
  request.set_session_id(settings.session_id);
  v1::Session* session = request.mutable_session();
  *session = ToProto(*settings.options);
  session->MergeFrom(settings.session);
  request.set_restore_from(settings.restore_from);
  return client.AttachOrCreate(request, call);
}

// LAYOUT_MISMATCH names the first segment that is another one in the session.
absl::Status CheckLayout(const v1::Layout& layout, const v1::Session& session) {
  const auto difference = FirstDifference(layout, session.layout());
  if (!difference.has_value()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   {"LAYOUT_MISMATCH",
                    difference->field,
                    difference->left,
                    difference->right,
                    {{"layout_hash", absl::StrCat(session.layout_hash())}}},
                   absl::StrCat(session.name(), " has another layout"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RemoteSession>> RemoteSession::Open(
    const RemoteSettings& settings, std::shared_ptr<Kernels> host,
    const CallOptions& call) {
  ClientOptions client_options = ClientOptionsFromEnvironment();
  client_options.shared_memory = settings.shared_memory;
  if (!settings.traceparent.empty()) {
    client_options.traceparent = settings.traceparent;
  }
  if (settings.chunk_bytes > 0) {
    client_options.chunk_bytes = settings.chunk_bytes;
  }
  auto client = Client::Connect(settings.server, client_options);
  if (!client.ok()) return client.status();
  const auto session = FindSession(**client, settings, call);
  if (!session.ok()) return session.status();
  WorkerOptions options = settings.worker;
  // A session that was made without a layout has nothing to compare with.
  if (settings.session.has_layout() && session->has_layout()) {
    // One that is only looked up has not been compared by the server.
    const absl::Status same = CheckLayout(settings.session.layout(), *session);
    if (!same.ok()) return same;
    options.layout_hash = session->layout_hash();
  }
  options.session = session->name();
  if (options.uid.empty()) options.uid = session->uid();
  auto worker = (*client)->OpenWorker(options, call);
  if (!worker.ok()) return worker.status();
  return std::unique_ptr<RemoteSession>(
      new RemoteSession(session->name(), *std::move(client), *std::move(worker),
                        std::move(host)));
}

RemoteSession::RemoteSession(std::string name, std::unique_ptr<Client> client,
                             std::unique_ptr<WorkerSession> worker,
                             std::shared_ptr<Kernels> host)
    : name_(std::move(name)),
      client_(std::move(client)),
      joined_(worker->joined()),
      pool_(std::make_shared<ResultPool>(
          std::move(host), joined_.num_parameters() *
                               (joined_.data_type() == v1::FLOAT64 ? 8 : 4))),
      applied_step_(worker->applied_step()),
      worker_(std::move(worker)) {}

absl::StatusOr<std::unique_ptr<ResultBuffer>> RemoteSession::TakeUpdate() {
  if (auto shared = worker_->TakeUpdate(); shared != nullptr) {
    return std::make_unique<ResultBuffer>(std::move(shared), pool_->bytes());
  }
  return pool_->Take();
}

absl::StatusOr<std::unique_ptr<ResultBuffer>> RemoteSession::TakeGradient() {
  absl::MutexLock lock(&mutex_);
  if (worker_ == nullptr) return Closed();
  std::shared_ptr<void> shared = worker_->TakeGradient();
  if (shared == nullptr) return nullptr;
  return std::make_unique<ResultBuffer>(
      std::move(shared),
      joined_.num_parameters() * ElementBytes(joined_.gradient_type()));
}

absl::StatusOr<RemoteSession::Result> RemoteSession::Step(
    absl::Span<const StepVector> contributions,
    absl::Span<const StepLoss> losses, const StepOptions& options, void* into) {
  absl::MutexLock lock(&mutex_);
  if (worker_ == nullptr) return Closed();
  std::unique_ptr<ResultBuffer> own;
  if (into == nullptr) {
    auto taken = TakeUpdate();
    if (!taken.ok()) return taken.status();
    own = *std::move(taken);
    into = own->data();
  }
  auto outcome = worker_->Step(contributions, losses, into, options);
  applied_step_ = worker_->applied_step();
  if (!outcome.ok()) return outcome.status();
  return Result{std::move(own), *std::move(outcome)};
}

absl::Status RemoteSession::Update(const OperatorOptions& options,
                                   const CallOptions& call) {
  v1::UpdateSessionRequest request;
  request.set_uid(joined_.uid());
  request.mutable_session()->set_name(name_);
  *request.mutable_session()->mutable_options() = ToMessage(options);
  for (const char* path : {"options.combiner", "options.momentum"}) {
    request.mutable_update_mask()->add_paths(path);
  }
  if (options.loss_recorder.has_value()) {
    request.mutable_update_mask()->add_paths("options.loss_recorder");
  }
  return client_->UpdateSession(request, call).status();
}

absl::Status RemoteSession::Accumulate(
    absl::Span<const StepVector> contributions, const StepOptions& options) {
  absl::MutexLock lock(&mutex_);
  if (worker_ == nullptr) return Closed();
  return worker_->Accumulate(contributions, options);
}

void RemoteSession::Close() {
  absl::MutexLock lock(&mutex_);
  worker_.reset();
}

absl::Status RemoteSession::Leave(const CallOptions& call) {
  absl::MutexLock lock(&mutex_);
  if (worker_ == nullptr) return Closed();
  const absl::Status status = worker_->Leave(call);
  if (status.ok()) worker_.reset();
  return status;
}

absl::Status RemoteSession::Delete(const CallOptions& call) {
  Close();
  return client_->DeleteSession(name_, joined_.uid(), call);
}

}  // namespace concord::python
