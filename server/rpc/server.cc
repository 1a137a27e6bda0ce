#include "server/rpc/server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "operators/errors.h"
#include "server/rpc/health.h"
#include "server/rpc/http_endpoint.h"
#include "server/rpc/listen_address.h"
#include "server/rpc/local_listener.h"
#include "server/rpc/process.h"
#include "server/rpc/service.h"
#include "server/rpc/stream_table.h"
#include "server/session/memory_budget.h"

namespace concord {
namespace {

constexpr absl::Duration kReapPeriod = absl::Seconds(1);
// After its streams were cancelled a handler needs this long at most.
constexpr absl::Duration kShutdownGrace = absl::Seconds(5);

// Reflection is a plugin of every server that the process builds.
void RegisterReflection() {
  static const bool registered = [] {
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    return true;
  }();
  (void)registered;
}

void SetArguments(grpc::ServerBuilder* builder) {
  // Two servers on one port would share its clients at random.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Finds workers whose machine is gone; lets waiting workers look for us.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder->AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
}

absl::Status CheckReach(const ListenAddress& address,
                        const Server::Options& options) {
  if (address.is_local || options.allow_insecure_remote) {
    return absl::OkStatus();
  }
  const bool encrypts = options.tls.is_set();
  const bool asks =
      !options.token_file.empty() || !options.tls.client_ca.empty();
  if (encrypts && asks) return absl::OkStatus();
  const char* const lacks = encrypts ? "does not ask who calls"
                            : asks   ? "does not encrypt"
                                     : "neither encrypts nor asks who calls";
  return MakeError(
      absl::StatusCode::kInvalidArgument,
      {"INVALID_OPTION",
       "listen",
       address.text,
       "a loopback address (127.0.0.1, [::1], localhost), unix:/path, or any "
       "with --tls-cert and --tls-key and one of --token-file, "
       "--tls-client-ca",
       {}},
      absl::StrCat("other machines could reach this address, and this server ",
                   lacks,
                   ": anybody could read and change your training. In a "
                   "network that you trust, pass --allow-insecure-remote"));
}

// New files of the process are its owner's alone while this lives.
class PrivateFiles {
 public:
  PrivateFiles() : before_(::umask(0177)) {}
  ~PrivateFiles() { ::umask(before_); }

 private:
  const mode_t before_;
};

}  // namespace

Server::Server(Options options)
    : options_(std::move(options)),
      metrics_(std::make_unique<Metrics>()),
      registry_(std::make_unique<SessionRegistry>(SessionOptions())),
      streams_(std::make_unique<StreamTable>(
          options_.sessions.limits.max_streams, metrics_.get())),
      service_(std::make_unique<Service>(registry_.get(), streams_.get(),
                                         metrics_.get(), options_.log)),
      health_(std::make_unique<HealthService>(std::vector<std::string>{
          kServiceName, "grpc.health.v1.Health",
          "grpc.reflection.v1alpha.ServerReflection"})) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(Options options) {
  auto server = std::unique_ptr<Server>(new Server(std::move(options)));
  absl::Status status = server->SetAccess();
  if (!status.ok()) return status;
  // Before anybody can ask for them.
  server->TakeUpStored();
  server->ListenLocally();
  // First, so that /healthz tells of a server that is not ready yet.
  status = server->ListenForMetrics();
  if (status.ok()) status = server->Listen();
  if (!status.ok()) return status;
  server->reaper_ = std::thread([raw = server.get()] { raw->Reap(); });
  return server;
}

SessionRegistry::Options Server::SessionOptions() const {
  SessionRegistry::Options sessions = options_.sessions;
  sessions.on_commit =
      [metrics = metrics_.get(), told = options_.sessions.on_commit](
          const v1::StepResult& result, const v1::StepTrailer& trailer) {
        metrics->CountStep(result, trailer);
        if (told != nullptr) told(result, trailer);
      };
  sessions.on_checkpoint =
      [metrics = metrics_.get(), told = options_.sessions.on_checkpoint](
          const std::string& session, const absl::Status& status) {
        metrics->CountCheckpoint(status.ok());
        if (told != nullptr) told(session, status);
      };
  return sessions;
}

Metrics::Facts Server::CollectFacts() const {
  Metrics::Facts facts;
  facts.now = registry_->Now();
  facts.info = service_->Describe();
  v1::ListSessionsRequest request;
  do {
    const absl::StatusOr<v1::ListSessionsResponse> page =
        registry_->List(request);
    // A page's token is the last one's answer: nothing can be wrong with it.
    if (!page.ok()) break;
    facts.sessions.insert(facts.sessions.end(), page->sessions().begin(),
                          page->sessions().end());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return facts;
}

absl::Status Server::ListenForMetrics() {
  if (options_.metrics_listen.empty()) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<HttpEndpoint>> endpoint = HttpEndpoint::Start(
      options_.metrics_listen,
      {.metrics =
           [this] { return metrics_->Text([this] { return CollectFacts(); }); },
       .is_serving = [this] { return health_->is_serving(); }});
  if (!endpoint.ok()) return endpoint.status();
  http_ = *std::move(endpoint);
  options_.log->Write("listening_for_metrics", {{"address", http_->address()}});
  return absl::OkStatus();
}

std::string Server::metrics_address() const {
  return http_ == nullptr ? "" : http_->address();
}

absl::Status Server::SetAccess() {
  if (options_.tls.is_set()) {
    absl::Status status = CheckTlsFiles(options_.tls);
    if (!status.ok()) return status;
  }
  if (options_.token_file.empty()) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<AccessControl>> access =
      AccessControl::Load(options_.token_file);
  if (!access.ok()) return access.status();
  access_ = *std::move(access);
  service_->SetAccess(access_.get());
  return absl::OkStatus();
}

void Server::ReloadTokens() {
  if (access_ == nullptr) return;
  const absl::StatusOr<bool> reloaded = access_->Reload();
  if (!reloaded.ok()) {
    options_.log->Write(
        "tokens_not_reloaded",
        {{"file", options_.token_file},
         {"message", std::string(reloaded.status().message())}});
  } else if (*reloaded) {
    options_.log->Write("tokens_reloaded", {{"file", options_.token_file}});
  }
}

void Server::TakeUpStored() {
  for (const SessionRegistry::TakenUp& taken : registry_->TakeUpStored()) {
    if (taken.status.ok()) {
      options_.log->Write(
          "session_taken_up",
          {{"session", taken.name},
           {"committed_step", static_cast<int64_t>(taken.committed_step)}});
    } else {
      options_.log->Write("session_not_taken_up",
                          {{"session", taken.name},
                           {"reason", GetErrorReason(taken.status)},
                           {"message", std::string(taken.status.message())}});
    }
  }
}

void Server::ListenLocally() {
  // A local socket knows of no certificates.
  const bool only_certificates =
      access_ == nullptr && !options_.tls.client_ca.empty();
  if (options_.max_shared_memory_bytes == 0 || only_certificates) return;
  absl::StatusOr<std::unique_ptr<LocalListener>> listener =
      LocalListener::Start(options_.sessions.limits.max_streams,
                           [this](FileDescriptor socket) {
                             service_->ServeLocalStep(std::move(socket));
                           });
  if (!listener.ok()) {
    // Everybody is served over gRPC.
    options_.log->Write("no_shared_memory",
                        {{"why", std::string(listener.status().message())}});
    return;
  }
  local_ = *std::move(listener);
  service_->OfferLocalSocket(
      local_->name(), MemoryBudget::Make(options_.max_shared_memory_bytes),
      options_.max_shared_memory_bytes);
}

absl::Status Server::Listen() {
  RegisterReflection();
  grpc::ServerBuilder builder;
  SetArguments(&builder);
  const std::shared_ptr<grpc::ServerCredentials> tcp_credentials =
      options_.tls.is_set() ? MakeTlsCredentials(options_.tls)
                            : grpc::InsecureServerCredentials();
  std::vector<ListenAddress> addresses;
  std::vector<int> ports(options_.listen.size(), 0);
  for (size_t i = 0; i < options_.listen.size(); ++i) {
    absl::StatusOr<ListenAddress> address =
        ParseListenAddress(options_.listen[i]);
    if (!address.ok()) return address.status();
    absl::Status status = CheckReach(*address, options_);
    if (status.ok() && !address->socket_file.empty()) {
      status = RemoveStaleSocket(address->socket_file);
    }
    if (!status.ok()) return status;
    builder.AddListeningPort(address->text,
                             address->socket_file.empty()
                                 ? tcp_credentials
                                 : grpc::InsecureServerCredentials(),
                             &ports[i]);
    addresses.push_back(*std::move(address));
  }
  builder.RegisterService(service_.get());
  builder.RegisterService(health_.get());
  {
    const PrivateFiles private_files;  // Unix sockets get mode 0600.
    server_ = builder.BuildAndStart();
  }
  for (size_t i = 0; i < addresses.size(); ++i) {
    if (server_ == nullptr || ports[i] == 0) {
      if (server_ != nullptr) server_->Shutdown();
      return absl::UnavailableError(absl::StrCat(
          "cannot listen on ", absl::StrJoin(options_.listen, ", "),
          ": is a port taken, or an address not this machine's?"));
    }
    if (!addresses[i].socket_file.empty()) {
      socket_files_.push_back(addresses[i].socket_file);
    }
    addresses_.push_back(addresses[i].WithPort(ports[i]));
  }
  // Everything that a step needs is there: whoever can connect is served.
  health_->SetServing(true);
  for (const std::string& address : addresses_) {
    options_.log->Write("listening", {{"address", address}});
  }
  return absl::OkStatus();
}

std::shared_ptr<grpc::Channel> Server::InProcessChannel() {
  return server_->InProcessChannel(grpc::ChannelArguments());
}

void Server::Reap() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (!stopping_) changed_.WaitWithTimeout(&mutex_, kReapPeriod);
      if (stopping_) return;
    }
    ReloadTokens();
    const std::vector<std::string> expired = registry_->ReapIdle();
    for (const std::string& name : expired) {
      options_.log->Write("session_expired", {{"session", name}});
    }
    if (!expired.empty()) ReturnFreeMemory();
  }
}

void Server::Drain(absl::Duration timeout) {
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
    stopping_ = true;
    changed_.SignalAll();
  }
  if (reaper_.joinable()) reaper_.join();
  if (server_ != nullptr) {
    // All of it ends within the timeout, where there is one.
    const absl::Duration grace = timeout > absl::ZeroDuration()
                                     ? std::min(kShutdownGrace, timeout / 2)
                                     : kShutdownGrace;
    const absl::Duration patience =
        std::max(timeout - grace, absl::ZeroDuration());
    const absl::Time deadline = absl::Now() + patience;
    options_.log->Write("draining",
                        {{"streams", int64_t{streams_->size()}},
                         {"timeout_s", absl::ToDoubleSeconds(timeout)}});
    health_->SetServing(false);
    streams_->StartDraining();
    registry_->Drain(options_.sessions.clock->Now() + patience);
    streams_->AwaitEmpty(deadline - absl::Now());
    // Shutdown would wait for ever for a stream that is in gRPC's hands.
    streams_->CancelAll();
    health_->EndWatches();
    local_.reset();  // All of its streams are ending.
    server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
    server_->Wait();
    http_.reset();  // Until here it has said that nothing is served.
    options_.log->Write("stopped");
  }
  for (const std::string& path : socket_files_) ::unlink(path.c_str());
}

Server::~Server() { Drain(absl::ZeroDuration()); }

}  // namespace concord
