#include "tests/server/session/system_under_test.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace concord {

namespace fs = std::filesystem;

namespace {

constexpr char kId[] = "s";

}  // namespace

SystemUnderTest::SystemUnderTest(const v1::Session& options)
    : options_(options),
      written_at_(fs::file_time_type::clock::now() - std::chrono::hours(24)) {
  Start();
}

void SystemUnderTest::Start() {
  auto opened = StateDirectory::Open(place_.path(), absl::StrCat(boot_));
  ASSERT_TRUE(opened.ok()) << opened.status();
  directory_ = *std::move(opened);
  harness_ = std::make_unique<Harness>(directory_.get(), [this](Phase phase) {
    if (phase != phase_of_crash_ || at_crash_.has_value()) return;
    at_crash_ = ReadWholeFile(directory_->StatePath(kId));
  });
}

void SystemUnderTest::Stop() {
  streams_.clear();
  harness_.reset();
  directory_.reset();
}

absl::Status SystemUnderTest::TakeUp() {
  for (const auto& taken : harness_->registry.TakeUpStored()) {
    if (!taken.status.ok()) return taken.status;
  }
  return absl::OkStatus();
}

absl::Status SystemUnderTest::RestartCleanly() {
  streams_.clear();
  harness_->registry.Drain(harness_->clock.Now() + absl::Seconds(1));
  Stop();
  ++boot_;
  Start();
  return TakeUp();
}

absl::Status SystemUnderTest::Crash() {
  const std::string file = directory_->StatePath(kId);
  Stop();
  if (at_crash_.has_value()) WriteWholeFile(file, *at_crash_);
  ForgetCrash();
  Start();
  return TakeUp();
}

void SystemUnderTest::PrepareCrash(Phase phase) {
  ForgetCrash();
  phase_of_crash_ = phase;
}

void SystemUnderTest::ForgetCrash() {
  phase_of_crash_.reset();
  at_crash_.reset();
}

absl::StatusOr<v1::Session> SystemUnderTest::Create() {
  v1::CreateSessionRequest request;
  request.set_session_id(kId);
  *request.mutable_session() = options_;
  return harness_->registry.Create(request);
}

absl::Status SystemUnderTest::Delete(const std::string& uid) {
  v1::DeleteSessionRequest request;
  request.set_name(kName);
  request.set_uid(uid);
  return harness_->registry.Delete(request);
}

absl::StatusOr<v1::Session> SystemUnderTest::Describe() {
  const auto session = harness_->registry.Get(kName);
  if (!session.ok()) return session.status();
  return (*session)->Describe();
}

absl::Status SystemUnderTest::Join(int stream, const v1::Join& join) {
  absl::StatusOr<std::unique_ptr<Worker>> worker =
      Worker::Join(&harness_->registry, join);
  if (!worker.ok()) return worker.status();
  streams_[stream].worker = *std::move(worker);
  return absl::OkStatus();
}

absl::Status SystemUnderTest::Begin(int stream, const v1::StepHeader& header,
                                    const std::string& data) {
  Stream& own = streams_.at(stream);
  const absl::Status status = own.worker->stream().Begin(header);
  if (status.ok()) own.data = data;
  return status;
}

absl::Status SystemUnderTest::Send(int stream, size_t bytes) {
  Stream& own = streams_.at(stream);
  const std::string part = own.data.substr(0, bytes);
  own.data.erase(0, bytes);
  // In two pieces, as a network would cut it.
  const absl::Span<const std::byte> data = AsBytes(part);
  const absl::Span<const std::byte> pieces[] = {data.first(data.size() / 3),
                                                data.subspan(data.size() / 3)};
  return own.worker->stream().AppendNext(pieces);
}

absl::StatusOr<std::optional<Answer>> SystemUnderTest::Finish(int stream) {
  Stream& own = streams_.at(stream);
  if (!own.data.empty()) {
    const absl::Status sent = Send(stream, own.data.size());
    if (!sent.ok()) return sent;
  }
  RankStream& ranks_stream = own.worker->stream();
  // Asked for the first time right before it would sleep.
  bool waits = false;
  const absl::StatusOr<StepReply> reply =
      ranks_stream.Finish([&] { return waits = true; });
  if (waits) return std::optional<Answer>();
  if (!reply.ok()) return reply.status();
  absl::StatusOr<Answer> answer = Worker::Collect(*reply);
  const absl::Status ended = ranks_stream.EndStep();
  if (!ended.ok()) return ended;
  if (!answer.ok()) return answer.status();
  return std::optional<Answer>(*std::move(answer));
}

absl::Status SystemUnderTest::Leave(int stream) {
  return streams_.at(stream).worker->stream().Leave();
}

bool SystemUnderTest::IsCancelled(int stream) const {
  return streams_.at(stream).worker->cancelled();
}

absl::Status SystemUnderTest::TakeCheckpoint() {
  v1::CreateCheckpointRequest request;
  request.set_session(kName);
  const absl::Status status =
      harness_->registry.CreateCheckpoint(request).status();
  const fs::path files = directory_->SessionPath(kId) + "/checkpoints";
  if (!fs::exists(files)) return status;
  const fs::file_time_type before = written_at_;
  for (const auto& file : fs::directory_iterator(files)) {
    if (file.last_write_time() <= before) continue;
    written_at_ = before + std::chrono::seconds(1);
    fs::last_write_time(file, written_at_);
  }
  return status;
}

absl::StatusOr<v1::Session> SystemUnderTest::Restore(
    std::optional<uint64_t> step) {
  v1::RestoreSessionRequest request;
  request.set_name(kName);
  if (step.has_value()) {
    request.set_checkpoint(absl::StrCat(kName, "/checkpoints/", *step));
  }
  return harness_->registry.Restore(request);
}

std::set<uint64_t> SystemUnderTest::Checkpoints() {
  v1::ListCheckpointsRequest request;
  request.set_session(kName);
  const auto list = harness_->registry.ListCheckpoints(request);
  std::set<uint64_t> steps;
  if (!list.ok()) return steps;
  for (const v1::Checkpoint& checkpoint : list->checkpoints()) {
    steps.insert(checkpoint.step());
  }
  return steps;
}

}  // namespace concord
