#include "client/cli/live_picture.h"

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/step_line.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace concord {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::Time kNow = absl::FromUnixSeconds(1'000'000);

void SetSeconds(google::protobuf::Duration* duration, double seconds) {
  duration->set_seconds(static_cast<int64_t>(seconds));
  duration->set_nanos(
      static_cast<int32_t>((seconds - std::floor(seconds)) * 1e9));
}

// Step `number` of m losses, whose cosines fall with the distance of their
// indexes from 1 to -1, and of as many ranks, of which the last comes last.
v1::StepDiagnostics Step(uint64_t number, int m) {
  v1::StepDiagnostics step;
  v1::StepResult& result = *step.mutable_result();
  result.set_step(number);
  result.set_update_length(10'401);
  for (v1::Matrix* matrix : {result.mutable_gram(), result.mutable_cosines()}) {
    matrix->set_rows(m);
    matrix->set_columns(m);
    for (int i = 0; i < m * m; ++i) {
      const double apart = std::abs(i / m - i % m);
      matrix->add_values(matrix == result.mutable_gram() && apart == 0
                             ? 4.0
                             : 1 - 2 * apart / std::max(1, m - 1));
    }
  }
  for (int i = 0; i < m; ++i) {
    result.add_losses(0.5 + i);
    result.mutable_solution()->add_coefficients(0.125 * i);
    step.mutable_trailer()->add_direction_cosines(i == 1 ? -0.25 : 0.577);
    v1::StepDiagnostics::Rank& rank = *step.add_ranks();
    rank.set_rank(i);
    SetSeconds(rank.mutable_receive(), 0.002);
    SetSeconds(rank.mutable_wait(), 0.010 * (m - 1 - i));
  }
  result.mutable_solution()->set_conflict_free(true);
  SetSeconds(step.mutable_trailer()->mutable_timings()->mutable_solve(), 1e-5);
  SetSeconds(step.mutable_trailer()->mutable_timings()->mutable_commit(), .002);
  step.mutable_commit_time()->set_seconds(1'000'000 - 10 +
                                          static_cast<int64_t>(number));
  return step;
}

LiveFacts Facts(int steps, int m) {
  LiveFacts facts;
  facts.session = "sessions/heat";
  facts.server = "127.0.0.1:50051";
  for (int i = 1; i <= steps; ++i) AddStep(Step(i, m), kNow, &facts);
  return facts;
}

// Without colours.
std::string Bare(const std::string& line) {
  std::string bare;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      i = line.find('m', i);
    } else {
      bare += line[i];
    }
  }
  return bare;
}

std::vector<std::string> BareLines(const LiveFacts& facts,
                                   const WindowSize& size,
                                   absl::Time now = kNow) {
  std::vector<std::string> lines = DrawLivePicture(facts, now, size);
  for (std::string& line : lines) line = Bare(line);
  return lines;
}

int Width(const std::string& bare) {
  int width = 0;
  for (const char byte : bare) {
    if ((static_cast<unsigned char>(byte) & 0xC0) != 0x80) ++width;
  }
  return width;
}

// As a session tells of a step that it has skipped.
v1::StepDiagnostics SkippedStep(uint64_t number, int m) {
  v1::StepDiagnostics step = Step(number, m);
  v1::StepResult& result = *step.mutable_result();
  result.clear_solution();
  result.clear_gram();
  result.clear_cosines();
  step.mutable_trailer()->clear_direction_cosines();
  for (const uint32_t rank : {1, 2}) {
    v1::Contributor& skipped = *result.add_skipped_nonfinite();
    skipped.set_rank(rank);
    skipped.add_losses(rank);
    if (rank == 2) skipped.add_losses(0);
  }
  return step;
}

TEST(LivePicture, NamesWhoMadeAStepASkippedOne) {
  LiveFacts facts = Facts(9, 3);
  const size_t trend = facts.worst_cosines.size();
  AddStep(SkippedStep(10, 3), kNow, &facts);
  const std::vector<std::string> lines = BareLines(facts, {100, 24});
  EXPECT_THAT(lines[1],
              HasSubstr("skipped: NaN or Inf from rank 1: loss 1, rank 2: "
                        "losses 2 0"));
  EXPECT_EQ(facts.worst_cosines.size(), trend) << "it has no cosines";
  EXPECT_THAT(ToLine(SkippedStep(10, 3)),
              HasSubstr("step 10  skipped: NaN or Inf from rank 1: loss 1"));
}

TEST(LivePicture, ShowsThreeLossesInEightyColumns) {
  const std::vector<std::string> lines = BareLines(Facts(10, 3), {80, 24});
  ASSERT_EQ(lines.size(), 24u);
  EXPECT_EQ(lines[0], absl::StrCat("sessions/heat on 127.0.0.1:50051",
                                   std::string(30, ' '), "step 10  1 steps/s"));
  EXPECT_EQ(lines[1],
            "conflict-free   10401 parameters   solve 10 us   commit 2 ms");
  EXPECT_EQ(lines[3],
            "loss      value      norm    weight  helped   cosines between "
            "losses");
  EXPECT_EQ(lines[4],
            "                                                  0     1     2 ");
  EXPECT_EQ(lines[5],
            "   0        0.5         2         0   0.577    1.00  0.00 -1.00 ");
  EXPECT_EQ(lines[6],
            "   1        1.5         2     0.125  -0.250    0.00  1.00  0.00 ");
  EXPECT_THAT(lines, Contains("worst pair -1.000 ▁▁▁▁▁▁▁▁▁▁"));
  EXPECT_THAT(lines, Contains("   2       2 ms      0 us   came last"));
  EXPECT_EQ(lines[23], "q quits");
}

TEST(LivePicture, FitsEveryWindow) {
  for (const int m : {1, 2, 3, 8, 64, 200}) {
    for (const WindowSize& size :
         {WindowSize{80, 24}, WindowSize{200, 50}, WindowSize{40, 12},
          WindowSize{20, 3}, WindowSize{1, 1}}) {
      LiveFacts facts = Facts(30, m);
      for (const std::string& trouble :
           {std::string(), std::string(500, 'x')}) {
        facts.trouble = trouble;
        const std::vector<std::string> lines = BareLines(facts, size);
        EXPECT_EQ(static_cast<int>(lines.size()), size.rows);
        for (const std::string& line : lines) {
          EXPECT_LE(Width(line), size.columns) << line;
        }
      }
    }
  }
}

TEST(LivePicture, AWideWindowHasAllOfEightLosses) {
  const std::vector<std::string> lines = BareLines(Facts(10, 8), {200, 50});
  for (int i = 0; i < 8; ++i) {
    EXPECT_THAT(lines, Contains(testing::StartsWith(absl::StrCat("   ", i))));
  }
  EXPECT_THAT(absl::StrJoin(lines, "\n"), Not(HasSubstr("--json has all")));
}

TEST(LivePicture, SaysWhatDoesNotFit) {
  EXPECT_THAT(absl::StrJoin(BareLines(Facts(2, 64), {80, 24}), "\n"),
              HasSubstr("of 64 losses, 5 of 64 cosines; --json has all"));
}

TEST(LivePicture, OpposingLossesAreRedAndAgreeingOnesGreen) {
  const std::string all =
      absl::StrJoin(DrawLivePicture(Facts(1, 3), kNow, {80, 24}), "\n");
  EXPECT_THAT(all, HasSubstr("\x1b[38;5;16;48;5;196m-1.00"
                             " "));
  EXPECT_THAT(all, HasSubstr("\x1b[38;5;16;48;5;46m 1.00 "));
  EXPECT_THAT(all, HasSubstr("\x1b[1;31m  -0.250"));
}

TEST(LivePicture, TellsSinceWhenTheServerIsGoneAndKeepsTheLastStep) {
  LiveFacts facts = Facts(4, 2);
  facts.trouble = "connection refused";
  facts.gone_since = kNow - absl::Seconds(12);
  const std::vector<std::string> lines = BareLines(facts, {80, 24});
  EXPECT_EQ(lines[1], "gone for 12 s, trying again: connection refused");
  EXPECT_THAT(lines[0], HasSubstr("step 4"));
  AddStep(Step(5, 2), kNow, &facts);
  EXPECT_THAT(BareLines(facts, {80, 24})[1], HasSubstr("conflict-free"));
}

TEST(LivePicture, TellsThatNothingComes) {
  const LiveFacts facts = Facts(4, 2);
  const auto lines = BareLines(facts, {100, 24}, kNow + absl::Seconds(42));
  EXPECT_THAT(lines[1], HasSubstr("last step 42 s ago"));
  EXPECT_THAT(lines[0], Not(HasSubstr("steps/s")));
  EXPECT_THAT(BareLines(Facts(0, 2), {80, 24})[1],
              HasSubstr("waiting for the first step"));
}

TEST(LivePicture, MissingRanksComeFirst) {
  LiveFacts facts;
  v1::StepDiagnostics step = Step(1, 2);
  step.mutable_result()->add_missing_ranks(7);
  AddStep(step, kNow, &facts);
  const auto lines = BareLines(facts, {80, 24});
  const auto head = std::find_if(
      lines.begin(), lines.end(),
      [](const std::string& line) { return absl::StartsWith(line, "rank"); });
  ASSERT_NE(head, lines.end());
  EXPECT_EQ(*std::next(head), "   7  was not in the step's round");
}

}  // namespace
}  // namespace concord
