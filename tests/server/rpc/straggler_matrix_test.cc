// One of two ranks fails, is slow, is cancelled, or stops for ever: before it
// sends, while it sends, while the round is reduced, and while it receives.
// The other rank gets its update in each case; what the straggler finds when it
// comes back is said at Outcome. Every cell is run several times over, and what
// the process holds afterwards - memory, threads, files - is what it held
// before; a line of figures is printed for each.
#include <dirent.h>
#include <malloc.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "tests/server/rpc/breakable_connection.h"
#include "tests/server/rpc/rpc_harness.h"

namespace concord {
namespace {

enum class When { kBefore, kSending, kReducing, kReceiving };
enum class What { kFails, kIsSlow, kIsCancelled, kStops };

constexpr int kRuns = 8;       // Of a cell.
constexpr int kFirstRuns = 2;  // Of them: gRPC's own caches fill.
// gRPC keeps a few threads that poll, one more or less as it likes. A thread
// that each run leaves behind makes kRuns - kFirstRuns more.
constexpr size_t kPollers = 2;
constexpr size_t kLength = 200'000;
// More than gRPC and the kernel buffer for a client that does not read.
constexpr size_t kLongLength = 4'000'000;
constexpr auto kStragglerTimeout = std::chrono::milliseconds(50);

size_t EntriesOf(const char* directory) {
  size_t entries = 0;
  DIR* const opened = opendir(directory);
  while (readdir(opened) != nullptr) ++entries;
  closedir(opened);
  return entries;
}

struct Holdings {
  size_t files = EntriesOf("/proc/self/fd");
  size_t threads = EntriesOf("/proc/self/task");
  // Of glibc's allocator; a sanitizer's is not seen.
  size_t bytes = mallinfo2().uordblks + mallinfo2().hblkhd;
};

class Stragglers : public ::testing::TestWithParam<std::tuple<When, What>> {
 protected:
  Stragglers()
      : when_(std::get<0>(GetParam())),
        what_(std::get<1>(GetParam())),
        // Whoever comes after this is late; who has sent all is not.
        late_(when_ == When::kBefore || when_ == When::kSending),
        length_(what_ == What::kStops && !late_ ? kLongLength : kLength),
        server_([this](Server::Options* options) {
          options->sessions.phase = [this](Phase phase) {
            absl::MutexLock lock(&mutex_);
            if (phase == Phase::kSolve && at_solve_) at_solve_();
          };
        }) {}

  v1::Session Options() const {
    v1::Session session;
    session.set_num_vectors(2);
    session.set_num_parameters(length_);
    session.set_num_workers(2);
    session.set_min_workers(1);
    session.mutable_round_timeout()->set_seconds(60);
    session.mutable_send_timeout()->set_nanos(300'000'000);
    if (late_) {
      session.mutable_straggler_timeout()->set_nanos(
          std::chrono::nanoseconds(kStragglerTimeout).count());
    } else {
      session.mutable_straggler_timeout()->set_seconds(60);
    }
    return session;
  }

  // Leaves the straggler alone, or lets it happen.
  void Disturb(StreamClient* straggler, BreakableConnection* connection) const {
    if (what_ == What::kFails) connection->Break();
    if (what_ == What::kIsCancelled) straggler->Cut();
  }

  void AtSolve(std::function<void()> action) {
    absl::MutexLock lock(&mutex_);
    at_solve_ = std::move(action);
  }

  // One step with the straggler in it.
  void Run(int run) {
    const std::string id = absl::StrCat("run-", run);
    const std::string name = absl::StrCat("sessions/", id);
    server_.Create(id, Options());
    const Vector ours = RandomVector(length_, 1);
    const Vector theirs = RandomVector(length_, 2);
    const std::string bytes = AsBytes(theirs);
    const size_t half = bytes.size() / 2 / (1 << 20) * (1 << 20);

    StreamClient steady(server_);
    steady.Join(name, 0, 1);
    auto connection =
        std::make_unique<BreakableConnection>(server_.server().addresses()[0]);
    auto straggler = std::make_unique<StreamClient>(connection->channel());
    straggler->Join(name, 1, 2);

    switch (when_) {
      case When::kBefore:
        Disturb(straggler.get(), connection.get());
        break;
      case When::kSending:
        straggler->SendHeader(straggler->Header(1, {{1, theirs}}));
        straggler->SendChunk(0, 0, bytes.substr(0, half));
        Disturb(straggler.get(), connection.get());
        break;
      case When::kReducing:
        AtSolve([&] { Disturb(straggler.get(), connection.get()); });
        straggler->SendStep(1, {{1, theirs}});
        break;
      case When::kReceiving:
        straggler->SendStep(1, {{1, theirs}});
        break;
    }

    const absl::Time sent = absl::Now();
    absl::StatusOr<Answer> answer;
    std::thread reader([&] {
      steady.SendStep(1, {{0, ours}});
      answer = steady.ReadAnswer();
      waited_ = absl::Now() - sent;
    });
    if (when_ == When::kReceiving) {
      v1::StepResponse response;
      EXPECT_TRUE(straggler->ReadOne(&response));
      EXPECT_TRUE(response.has_result());
      EXPECT_TRUE(straggler->ReadOne(&response));
      EXPECT_TRUE(response.has_chunk());
      Disturb(straggler.get(), connection.get());
    }
    reader.join();
    AtSolve(nullptr);

    // The other rank goes on, within its deadline.
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_LT(waited_, absl::Seconds(30));
    if (late_) {
      EXPECT_THAT(answer->result.missing_ranks(), testing::ElementsAre(1));
    } else {
      EXPECT_EQ(answer->result.contributors_size(), 2);
    }

    if (what_ == What::kIsSlow) {
      GoesOn(straggler.get(), theirs, bytes, half, *answer);
    } else {
      if (what_ == What::kStops && !late_) {
        const std::string told =
            server_.AwaitLogged("stream_failed", static_cast<size_t>(run) + 1);
        EXPECT_THAT(told, testing::HasSubstr("SEND_TIMEOUT"));
      } else if (what_ == What::kStops) {
        straggler->Cut();  // Its process ends at last.
      }
      (void)straggler->Finish();
      straggler.reset();
      connection.reset();
      ComesBack(name, theirs, *answer);
    }
    steady.WritesDone();
    EXPECT_TRUE(steady.Finish().ok());
    grpc::ClientContext context;
    v1::DeleteSessionRequest request;
    request.set_name(name);
    google::protobuf::Empty nothing;
    EXPECT_TRUE(v1::Concord::NewStub(server_.Connect())
                    ->DeleteSession(&context, request, &nothing)
                    .ok());
  }

  // A slow rank does the rest of what it was about to do.
  void GoesOn(StreamClient* straggler, const Vector& theirs,
              const std::string& bytes, size_t half, const Answer& answer) {
    if (when_ == When::kBefore) straggler->SendStep(1, {{1, theirs}});
    if (when_ == When::kSending) {
      straggler->SendChunk(0, half, bytes.substr(half));
    }
    if (when_ == When::kReceiving) {
      v1::StepResponse last;
      for (v1::StepResponse next; !last.has_trailer(); last = next) {
        ASSERT_TRUE(straggler->ReadOne(&next));
      }
      EXPECT_EQ(last.trailer().checksum(), answer.trailer.checksum());
      return;
    }
    ExpectTheSame(straggler->ReadAnswer(), answer);
  }

  // The same process again, after its stream has ended.
  void ComesBack(const std::string& name, const Vector& theirs,
                 const Answer& answer) {
    StreamClient again(server_);
    again.Join(name, 1, 2);
    again.SendStep(1, {{1, theirs}}, /*attempt=*/2);
    ExpectTheSame(again.ReadAnswer(), answer);
    again.WritesDone();
    EXPECT_TRUE(again.Finish().ok());
  }

  void ExpectTheSame(const absl::StatusOr<Answer>& found,
                     const Answer& answer) const {
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->result.dropped(), late_);
    EXPECT_EQ(found->update, answer.update);
    EXPECT_EQ(found->trailer.checksum(), answer.trailer.checksum());
  }

  // Less heap than one vector more, of the nine or more that each run moves.
  bool IsBack(const Holdings& now, const Holdings& before) const {
    return now.files <= before.files &&
           now.threads <= before.threads + kPollers &&
           now.bytes < before.bytes + length_ * sizeof(float) / 2;
  }

  // What is held once everything that was begun has ended: gRPC ends threads,
  // closes sockets and frees buffers a moment after the calls, and tells
  // nobody.
  Holdings Settled(const Holdings& before) const {
    const absl::Time patience = absl::Now() + absl::Seconds(20);
    Holdings now;
    while (!IsBack(now, before) && absl::Now() < patience) {
      absl::SleepFor(absl::Milliseconds(10));
      now = Holdings();
    }
    return now;
  }

  const When when_;
  const What what_;
  const bool late_;
  const size_t length_;
  absl::Mutex mutex_;
  std::function<void()> at_solve_ ABSL_GUARDED_BY(mutex_);
  absl::Duration waited_;
  TestServer server_;
};

TEST_P(Stragglers, EndAsDocumentedAndLeaveNothingBehind) {
  Holdings before;
  for (int run = 0; run < kRuns; ++run) {
    if (run == kFirstRuns) before = Holdings();
    Run(run);
    if (HasFatalFailure()) return;
  }
  const Holdings after = Settled(before);
  EXPECT_TRUE(IsBack(after, before));
  std::printf(
      "the other rank had its update after %.0f ms; files %zu -> %zu, threads "
      "%zu -> %zu, heap %.2f -> %.2f MB\n",
      absl::ToDoubleMilliseconds(waited_), before.files, after.files,
      before.threads, after.threads, 1e-6 * before.bytes, 1e-6 * after.bytes);
}

std::string NameOf(
    const ::testing::TestParamInfo<std::tuple<When, What>>& cell) {
  constexpr const char* kWhen[] = {"Before", "Sending", "Reducing",
                                   "Receiving"};
  constexpr const char* kWhat[] = {"Fails", "IsSlow", "IsCancelled", "Stops"};
  return absl::StrCat(kWhat[static_cast<int>(std::get<1>(cell.param))],
                      kWhen[static_cast<int>(std::get<0>(cell.param))]);
}

INSTANTIATE_TEST_SUITE_P(
    Matrix, Stragglers,
    ::testing::Combine(::testing::Values(When::kBefore, When::kSending,
                                         When::kReducing, When::kReceiving),
                       ::testing::Values(What::kFails, What::kIsSlow,
                                         What::kIsCancelled, What::kStops)),
    NameOf);

}  // namespace
}  // namespace concord
