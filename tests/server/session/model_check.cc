#include "tests/server/session/model_check.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace concord {
namespace {

using Expected = ReferenceModel::Expected;

constexpr size_t kLoggedOperations = 20;
// Of float64 updates of a few parameters.
constexpr double kTolerance = 1e-7;

std::string ReasonOf(const absl::Status& status) {
  if (status.ok()) return "OK";
  const std::string reason = Reason(status);
  return reason.empty() ? std::string(status.message()) : reason;
}

// As errors.proto lists them.
absl::StatusCode CodeOf(const std::string& reason) {
  static const auto* const codes = new std::map<std::string, absl::StatusCode>{
      {"OK", absl::StatusCode::kOk},
      {"PROTOCOL_VIOLATION", absl::StatusCode::kInvalidArgument},
      {"RANK_OUT_OF_RANGE", absl::StatusCode::kInvalidArgument},
      {"DUPLICATE_INDEX", absl::StatusCode::kInvalidArgument},
      {"NON_FINITE", absl::StatusCode::kInvalidArgument},
      {"SESSION_NOT_FOUND", absl::StatusCode::kNotFound},
      {"CHECKPOINT_NOT_FOUND", absl::StatusCode::kNotFound},
      {"SESSION_EXISTS", absl::StatusCode::kAlreadyExists},
      {"SUPERSEDED", absl::StatusCode::kAborted},
      {"ROUND_TIMEOUT", absl::StatusCode::kDeadlineExceeded}};
  const auto found = codes->find(reason);
  return found == codes->end() ? absl::StatusCode::kFailedPrecondition
                               : found->second;
}

std::string BytesOf(const Answer& answer) {
  return std::string(reinterpret_cast<const char*>(answer.update.data()),
                     answer.update.size() * sizeof(float));
}

class ModelCheck {
 public:
  ModelCheck(const ReferenceModel::Options& options, uint64_t seed,
             SystemUnderTest* system)
      : options_(options),
        seed_(seed),
        random_(seed),
        system_(*system),
        model_(options) {}

  ModelCheckResult Run(int operations) {
    while (result_.operations < operations && !result_.divergence) {
      Operate();
      CheckState();
      ++result_.operations;
    }
    return std::move(result_);
  }

 private:
  enum class Stage { kIdle, kSending, kWaiting };
  struct Stream {
    uint32_t rank = 0;
    Stage stage = Stage::kIdle;
    bool finite = true;
    bool repeats = false;  // The step under way was committed before.
  };

  // ---- Chance, the same with every library ----
  uint64_t Pick(uint64_t choices) { return random_() % choices; }
  bool Chance(int percent) {
    return Pick(100) < static_cast<uint64_t>(percent);
  }
  double PickElement() {
    return static_cast<double>(random_() >> 11) * 0x1p-52 - 1;
  }
  template <class Map>
  auto PickOf(const Map& map) {
    return std::next(map.begin(), static_cast<ptrdiff_t>(Pick(map.size())));
  }

  // ---- What was done, and whether it was right ----
  void Log(std::string operation, const std::string& details) {
    operation_ = std::move(operation);
    ++result_.reached[operation_];
    if (log_.size() == kLoggedOperations) log_.pop_front();
    log_.push_back(
        absl::StrCat(result_.operations, ": ", operation_, " ", details, " "));
  }
  void Diverge(const std::string& what) {
    if (result_.divergence) return;
    result_.divergence =
        absl::StrCat("seed ", seed_, ", ", what, "\nthe last operations:\n",
                     absl::StrJoin(log_, "\n"));
  }
  // False: they differ.
  bool Agree(const Expected& expected, const std::string& reason,
             absl::StatusCode code) {
    absl::StrAppend(&log_.back(), "-> ", reason);
    ++result_.reached[absl::StrCat(operation_, ": ", reason)];
    if (!expected.reasons.contains(reason)) {
      Diverge(absl::StrCat(operation_, " is answered with ", reason, ", not ",
                           absl::StrJoin(expected.reasons, " or ")));
    } else if (reason != "WAITS" && code != CodeOf(reason)) {
      Diverge(
          absl::StrCat(reason, " comes with ", absl::StatusCodeToString(code)));
    }
    return !result_.divergence;
  }
  bool Agree(const Expected& expected, const absl::Status& status) {
    return Agree(expected, ReasonOf(status), status.code());
  }
  template <class T>
  void Same(const char* what, const T& is, const T& should_be) {
    if (is != should_be) {
      Diverge(absl::StrCat(what, " is ", Text(is), ", not ", Text(should_be)));
    }
  }
  static std::string Text(const std::string& text) { return text; }
  static std::string Text(uint64_t number) { return absl::StrCat(number); }
  template <class T>
  static std::string Text(const std::set<T>& numbers) {
    return absl::StrCat("{", absl::StrJoin(numbers, ", "), "}");
  }

  void CheckState() {
    if (result_.divergence) return;
    const absl::StatusOr<v1::Session> session = system_.Describe();
    if (session.ok() != model_.exists()) {
      return Diverge(absl::StrCat("the session: ", ReasonOf(session.status())));
    }
    Same("the checkpoints' steps", system_.Checkpoints(), model_.Checkpoints());
    for (const auto& [number, stream] : streams_) {
      Same<uint64_t>(absl::StrCat("cancellation of stream ", number).c_str(),
                     system_.IsCancelled(number), model_.HasEnded(number));
    }
    if (!session.ok()) {
      return Same<std::string>("the session", ReasonOf(session.status()),
                               "SESSION_NOT_FOUND");
    }
    Same("uid", session->uid(), model_.uid());
    Same("epoch", session->epoch(), model_.epoch());
    Same("the committed step", session->committed_step(),
         model_.committed_step());
    Same("the absent ranks",
         std::set<uint32_t>(session->absent_ranks().begin(),
                            session->absent_ranks().end()),
         model_.Absent());
  }

  void CheckAnswer(const Expected& expected, uint32_t rank,
                   const Answer& answer) {
    const ReferenceModel::Commit& commit = *expected.commit;
    Same("the answer's step", answer.result.step(), commit.step);
    Same("the trailer's step", answer.trailer.step(), commit.step);
    Same("the answer's epoch", answer.result.epoch(), model_.epoch());
    Same("the trailer's epoch", answer.trailer.epoch(), model_.epoch());
    Same<uint64_t>("repeated", answer.result.repeated(), expected.repeated);
    Same<uint64_t>("dropped", answer.result.dropped(), expected.dropped);
    std::set<uint32_t> missing;
    for (uint32_t i = 0; i < options_.num_workers; ++i) missing.insert(i);
    std::map<uint32_t, std::set<int>> contributors;
    for (const v1::Contributor& contributor : answer.result.contributors()) {
      missing.erase(contributor.rank());
      contributors[contributor.rank()] = {contributor.losses().begin(),
                                          contributor.losses().end()};
    }
    if (contributors != commit.contributors) Diverge("other contributors");
    Same("the missing ranks",
         std::set<uint32_t>(answer.result.missing_ranks().begin(),
                            answer.result.missing_ranks().end()),
         missing);
    if (result_.divergence) return;
    if (expected.repeated) {
      ++result_.reached[commit.step == model_.committed_step()
                            ? "the committed step again"
                            : "an earlier step again"];
    }
    if (expected.dropped) ++result_.reached["dropped"];
    if (!missing.empty()) ++result_.reached["a rank is missing"];

    const std::string bytes = BytesOf(answer);
    Same<uint64_t>("the update's length", bytes.size(),
                   options_.num_parameters * sizeof(double));
    if (result_.divergence) return;
    const auto [seen, is_new] = seen_.emplace(expected.commit, bytes);
    if (seen->second != bytes) {
      Diverge(absl::StrCat("rank ", rank, " gets other bits of step ",
                           commit.step, " than were seen before"));
    }
    if (!is_new) return;
    if (!commit.update.isZero()) ++result_.reached["a live update"];
    Eigen::VectorXd update(options_.num_parameters);
    std::memcpy(update.data(), bytes.data(), bytes.size());
    const double error =
        (update - commit.update).norm() / std::max(1.0, commit.update.norm());
    result_.largest_error = std::max(result_.largest_error, error);
    if (!(error <= kTolerance)) {
      Diverge(absl::StrCat("the update of step ", commit.step,
                           " is wrong by a relative ", error));
    }
  }

  // ---- Operations ----
  void Close(int number) {
    system_.Close(number);
    model_.Close(number);
    streams_.erase(number);
  }

  void AddUid(const std::string& uid) {
    if (absl::c_linear_search(uids_, uid)) Diverge("an old uid is new again");
    uids_.push_back(uid);
  }

  std::string Which(const std::string& uid) const {
    if (uid.empty()) return "any";
    return absl::StrCat("#", absl::c_find(uids_, uid) - uids_.begin());
  }

  void Create() {
    Log("Create", "");
    const absl::StatusOr<v1::Session> made = system_.Create();
    const std::string uid = made.ok() ? made->uid() : "";
    Agree(model_.Create(uid), made.status());
    if (made.ok()) AddUid(uid);
  }

  void Delete() {
    const std::string uid = Chance(50)   ? *PickOf(uids_)
                            : Chance(50) ? ""
                                         : model_.uid();
    Log("Delete", Which(uid));
    Agree(model_.Delete(uid), system_.Delete(uid));
  }

  void Join(const ReferenceModel::JoinRequest& request) {
    const int number = next_stream_++;
    Log("Join",
        absl::StrCat("stream ", number, " rank ", request.rank, " incarnation ",
                     request.incarnation % 1000, " uid ", Which(request.uid),
                     " epoch ", request.epoch, " resume ",
                     request.resume_step.has_value()
                         ? absl::StrCat(*request.resume_step)
                         : "none"));
    v1::Join join;
    join.set_session(SystemUnderTest::kName);
    join.set_rank(request.rank);
    join.set_incarnation(request.incarnation);
    join.set_uid(request.uid);
    join.set_epoch(request.epoch);
    if (request.resume_step) join.set_resume_step(*request.resume_step);
    const absl::Status status = system_.Join(number, join);
    if (Agree(model_.Join(number, request), status) && status.ok()) {
      streams_[number].rank = request.rank;
    }
  }

  ReferenceModel::JoinRequest GoodJoin(uint32_t rank) {
    ReferenceModel::JoinRequest request;
    request.rank = rank;
    if (model_.exists()) request.incarnation = model_.rank(rank).incarnation;
    if (request.incarnation == 0 || Chance(30)) {
      request.incarnation = random_() | 1;
    }
    if (Chance(50)) request.uid = model_.uid();
    if (Chance(50)) request.epoch = model_.epoch();
    request.resume_step = model_.committed_step();
    return request;
  }

  void OddJoin(uint32_t rank) {
    ReferenceModel::JoinRequest request = GoodJoin(rank);
    const uint64_t committed = model_.committed_step();
    const std::vector<uint64_t>& replaced = model_.rank(rank).replaced;
    switch (Pick(9)) {
      case 0:
        if (!replaced.empty()) {
          // Not of those that have been forgotten by then.
          const size_t newest = std::min<size_t>(replaced.size(), 8);
          request.incarnation = replaced[replaced.size() - 1 - Pick(newest)];
        }
        break;
      case 1:
        request.incarnation = 0;
        break;
      case 2:
        request.rank = options_.num_workers + static_cast<uint32_t>(Pick(2));
        break;
      case 3:
        request.uid = *PickOf(uids_);
        break;
      case 4:
        request.epoch = model_.epoch() + (Chance(50) ? 1 : -1);
        break;
      case 5:
        request.resume_step.reset();
        break;
      case 6:
        request.resume_step = committed + 1;
        break;
      case 7:
        request.resume_step = committed - std::min(committed, Pick(4));
        request.incarnation = random_() | 1;
        break;
      default:  // Another stream of the same process.
        break;
    }
    Join(request);
  }

  void Begin(int number) {
    Stream& stream = streams_.at(number);
    const ReferenceModel::Rank& rank = model_.rank(stream.rank);
    const uint64_t committed = model_.committed_step();
    ReferenceModel::Header header;
    header.step = committed + 1;
    header.epoch = model_.epoch();
    std::optional<uint32_t> attempt;
    switch (Pick(20)) {
      case 0:
      case 1:
      case 2:
        header.step = committed;
        break;
      case 3:
        header.step = committed - std::min(committed, 1 + Pick(3));
        break;
      case 4:
        header.step = committed + 2;
        break;
      case 5:
        header.epoch += Chance(50) ? 1 : -1;
        break;
      case 6:
        header.step = committed;
        --header.epoch;
        break;
      case 7:
        header.step = rank.step;
        attempt = std::max<uint32_t>(rank.attempt, 2) - 1;
        break;
      default:
        break;
    }
    const uint32_t next = header.step == rank.step ? rank.attempt + 1 : 1;
    header.attempt = attempt.value_or(next);
    const bool random_losses = Chance(8);
    const bool no_losses = Chance(8);
    stream.finite = !Chance(4);
    for (int loss = 0; loss < options_.num_vectors && !no_losses; ++loss) {
      const bool own = loss % options_.num_workers == stream.rank;
      if (random_losses ? Chance(50) : own) {
        Eigen::VectorXd& gradient = header.gradients[loss];
        gradient.resize(options_.num_parameters);
        for (double& element : gradient) element = PickElement();
        if (!stream.finite) {
          gradient[static_cast<Eigen::Index>(Pick(gradient.size()))] =
              std::numeric_limits<double>::quiet_NaN();
        }
      }
    }
    Log("Begin",
        absl::StrCat("stream ", number, " rank ", stream.rank, " step ",
                     header.step, " attempt ", header.attempt, " epoch ",
                     header.epoch, " of ", header.gradients.size(), " vectors",
                     stream.finite ? "" : " with NaN"));
    v1::StepHeader message;
    message.set_step(header.step);
    message.set_attempt(header.attempt);
    message.set_epoch(header.epoch);
    std::string data;
    for (const auto& [loss, gradient] : header.gradients) {
      v1::VectorHeader* const vector = message.add_vectors();
      vector->set_index(static_cast<uint32_t>(loss));
      vector->set_data_type(v1::FLOAT64);
      vector->set_length(gradient.size());
      data.append(reinterpret_cast<const char*>(gradient.data()),
                  gradient.size() * sizeof(double));
    }
    const absl::Status status = system_.Begin(number, message, data);
    if (!Agree(model_.Begin(number, header), status)) return;
    if (status.ok()) {
      stream.stage = Stage::kSending;
      stream.repeats = header.step <= committed;
    } else {
      Close(number);
    }
  }

  void SendPart(int number) {
    const size_t bytes = 1 + Pick(options_.num_parameters * sizeof(double) - 1);
    Log("SendPart", absl::StrCat("stream ", number, " ", bytes, " bytes"));
    const absl::Status status = system_.Send(number, bytes);
    if (Agree(model_.SendPart(number), status) && !status.ok()) Close(number);
  }

  void Finish(int number) {
    const uint32_t rank = streams_.at(number).rank;
    Log("Finish", absl::StrCat("stream ", number, " rank ", rank));
    const auto answer = system_.Finish(number);
    const Expected expected = model_.Finish(number);
    const bool waits = answer.ok() && !answer->has_value();
    if (!Agree(expected, waits ? "WAITS" : ReasonOf(answer.status()),
               answer.status().code())) {
      return;
    }
    if (!answer.ok()) return Close(number);
    streams_.at(number).stage = waits ? Stage::kWaiting : Stage::kIdle;
    if (!waits) CheckAnswer(expected, rank, **answer);
  }

  void Leave(int number) {
    Log("Leave",
        absl::StrCat("stream ", number, " rank ", streams_.at(number).rank));
    if (Agree(model_.Leave(number), system_.Leave(number))) Close(number);
  }

  void Cut(int number) {
    Log("Cut",
        absl::StrCat("stream ", number, " rank ", streams_.at(number).rank));
    Close(number);
  }

  // What the stream does next.
  void Continue(int number) {
    switch (streams_.at(number).stage) {
      case Stage::kIdle:
        return Begin(number);
      case Stage::kSending:
      case Stage::kWaiting:
        return Finish(number);
    }
  }

  void Advance() {
    constexpr int kMilliseconds[] = {500, 1000, 1999, 2000, 4000, 10000};
    const absl::Duration duration = absl::Milliseconds(kMilliseconds[Pick(6)]);
    Log("Advance", absl::FormatDuration(duration));
    system_.Advance(duration);
    model_.Advance(duration);
    // Somebody notices.
    if (!streams_.empty() && Chance(60)) {
      const auto& [number, stream] = *PickOf(streams_);
      const bool looks =
          stream.stage == Stage::kIdle || (stream.finite && !stream.repeats);
      if (!model_.HasEnded(number) && looks) {
        return Chance(15) ? Leave(number) : Continue(number);
      }
    }
    system_.Reap();
  }

  void RestartCleanly() {
    streams_.clear();
    Log("RestartCleanly", "");
    // Draining would wait for the open round's end.
    const absl::Duration duration =
        model_.round_is_open() ? options_.round_timeout : absl::ZeroDuration();
    system_.Advance(duration);
    system_.Reap();
    model_.Advance(duration);
    model_.RestartCleanly();
    Agree({.reasons = {"OK"}}, system_.RestartCleanly());
  }

  // `before_last_commit`: right before the last commit's switch.
  void Crash(bool inside_commit, bool before_last_commit) {
    streams_.clear();
    Log(inside_commit ? "CrashInCommit" : "Crash", "");
    model_.Crash(before_last_commit);
    Agree({.reasons = {"OK"}}, system_.Crash());
  }

  // Nobody uses it until it is put away, or gone where its steps are not kept.
  void Park() {
    Log("Park", "");
    while (!streams_.empty()) Close(streams_.begin()->first);
    const absl::Duration duration = absl::Hours(25);
    system_.Advance(duration);
    system_.Reap();
    model_.Advance(duration);
    model_.RestartCleanly();
  }

  void TakeCheckpoint() {
    Log("TakeCheckpoint", "");
    Agree(model_.TakeCheckpoint(), system_.TakeCheckpoint());
  }

  void Restore() {
    std::optional<uint64_t> step;
    const std::set<uint64_t> steps = model_.Checkpoints();
    if (Chance(60)) {
      step = steps.empty() || Chance(15) ? Pick(model_.committed_step() + 5)
                                         : *PickOf(steps);
    }
    Log("Restore", step.has_value() ? absl::StrCat(*step) : "the newest");
    const absl::StatusOr<v1::Session> restored = system_.Restore(step);
    const std::string uid = restored.ok() ? restored->uid() : "";
    const bool is_new = !model_.exists();
    if (!Agree(model_.Restore(step, uid), restored.status())) return;
    if (restored.ok() && is_new) AddUid(uid);
  }

  void Operate() {
    const Phase phases[] = {Phase::kSolve, Phase::kCommit, Phase::kSwitch,
                            Phase::kTrailer};
    const Phase phase = phases[Pick(4)];
    const bool may_crash =
        options_.keeps == ReferenceModel::Keeps::kSteps && Chance(4);
    const uint64_t committed = model_.committed_step();
    if (may_crash) system_.PrepareCrash(phase);
    const bool may_restart = !may_crash;
    OperateOnce(may_restart);
    if (model_.exists() && model_.committed_step() > committed) {
      ++result_.commits;
    }
    if (result_.divergence || !may_crash) return;
    if (system_.has_crashed()) {
      Crash(/*inside_commit=*/true, phase != Phase::kTrailer);
    } else {
      system_.ForgetCrash();
    }
  }

  void OperateOnce(bool may_restart) {
    uint32_t rank = static_cast<uint32_t>(Pick(options_.num_workers));
    const uint64_t choice = Pick(250);
    if (!model_.exists()) {
      if (choice < 120) return Create();
      if (choice < 135) return Restore();
      if (choice < 150) return TakeCheckpoint();
      if (choice < 160) return Delete();
      if (choice < 180 && !streams_.empty()) {
        return Continue(PickOf(streams_)->first);
      }
      return Join(GoodJoin(rank));
    }
    if (choice < 4 && may_restart) {
      return choice == 0  ? Park()
             : Chance(50) ? RestartCleanly()
                          : Crash(false, false);
    }
    if (choice < 12) return TakeCheckpoint();
    if (choice < 16) return Restore();
    if (choice < 18) return Delete();
    if (choice < 19) return Create();
    if (choice < 32) return OddJoin(rank);
    if (choice < 46) return Advance();
    if (choice < 70 && !streams_.empty()) {
      // Of all streams, also those that were ended.
      const auto& [number, stream] = *PickOf(streams_);
      if (choice < 50) return Leave(number);
      if (choice < 55) return Cut(number);
      if (choice < 57 && stream.stage == Stage::kWaiting) return Begin(number);
      if (choice < 65 && stream.stage == Stage::kSending &&
          !system_.WasSent(number)) {
        return SendPart(number);
      }
      return Continue(number);
    }
    // Rather of a rank that the others wait for.
    int number = model_.rank(rank).stream;
    if (number >= 0 && streams_.at(number).stage == Stage::kWaiting &&
        Chance(80)) {
      rank = (rank + 1) % options_.num_workers;
      number = model_.rank(rank).stream;
    }
    if (number < 0) return Join(GoodJoin(rank));
    Continue(number);
  }

  const ReferenceModel::Options options_;
  const uint64_t seed_;
  std::mt19937_64 random_;
  SystemUnderTest& system_;
  ReferenceModel model_;
  std::map<int, Stream> streams_;
  int next_stream_ = 0;
  // In the order of their creation: the server picks them at random.
  std::vector<std::string> uids_ = {"another"};
  // The bits of every step that somebody has got.
  std::map<std::shared_ptr<const ReferenceModel::Commit>, std::string> seen_;
  std::string operation_;
  std::deque<std::string> log_;
  ModelCheckResult result_;
};

}  // namespace

v1::Session ToSession(const ReferenceModel::Options& options) {
  v1::Session session;
  session.set_num_vectors(static_cast<uint32_t>(options.num_vectors));
  session.set_num_parameters(options.num_parameters);
  session.set_data_type(v1::FLOAT64);
  session.set_num_workers(options.num_workers);
  session.set_min_workers(options.min_workers);
  session.mutable_round_timeout()->set_seconds(
      absl::ToInt64Seconds(options.round_timeout));
  session.mutable_straggler_timeout()->set_seconds(
      absl::ToInt64Seconds(options.straggler_timeout));
  session.set_update_history(static_cast<uint32_t>(options.update_history));
  using Keeps = ReferenceModel::Keeps;
  if (options.keeps != Keeps::kNothing) {
    session.mutable_checkpoints()->set_keep(
        static_cast<uint32_t>(options.keep_checkpoints));
  }
  session.set_durability(options.keeps == Keeps::kSteps ? v1::DURABILITY_STEP
                         : options.keeps == Keeps::kCheckpoints
                             ? v1::DURABILITY_CHECKPOINT
                             : v1::DURABILITY_NONE);
  return session;
}

ModelCheckResult CheckAgainstModel(const ReferenceModel::Options& options,
                                   uint64_t seed, int operations,
                                   SystemUnderTest* system) {
  return ModelCheck(options, seed, system).Run(operations);
}

}  // namespace concord
