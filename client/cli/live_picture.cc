#include "client/cli/live_picture.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "client/cli/step_facts.h"

namespace concord {
namespace {

constexpr size_t kRememberedCommits = 64;
constexpr size_t kRememberedCosines = 256;
// What a rate of steps is taken over.
constexpr absl::Duration kRateWindow = absl::Seconds(5);
constexpr absl::Duration kQuiet = absl::Seconds(2);

constexpr absl::string_view kBold = "\x1b[1m";
constexpr absl::string_view kDim = "\x1b[2m";
constexpr absl::string_view kRed = "\x1b[1;31m";
constexpr absl::string_view kGreen = "\x1b[32m";
constexpr absl::string_view kYellow = "\x1b[33m";
constexpr absl::string_view kPlain = "\x1b[0m";

// One line that knows how wide it is; what does not fit is cut off.
class Line {
 public:
  explicit Line(int columns) : columns_(columns) {}

  // `text` in that style; every byte that begins a character is one column.
  Line& Add(absl::string_view text, absl::string_view style = "") {
    absl::StrAppend(&line_, style);
    for (const char byte : text) {
      const bool begins = (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
      if (begins && width_ == columns_) break;
      line_ += byte;
      if (begins) ++width_;
    }
    if (!style.empty()) absl::StrAppend(&line_, kPlain);
    return *this;
  }
  // Blanks up to that column.
  Line& To(int column) {
    return Add(std::string(std::max(column - width_, 0), ' '));
  }
  // From here on the line may be so wide.
  void Widen(int columns) { columns_ = columns; }
  int width() const { return width_; }
  std::string Take() { return std::move(line_); }

 private:
  int columns_;
  int width_ = 0;
  std::string line_;
};

// Three digits and a unit, "1.25 ms".
std::string Spell(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds < 1e-3) return absl::StrFormat("%.3g us", seconds * 1e6);
  if (seconds < 1) return absl::StrFormat("%.3g ms", seconds * 1e3);
  return absl::StrFormat("%.3g s", seconds);
}

double Cosine(const v1::Matrix& cosines, int i, int j) {
  return cosines.values(i * static_cast<int>(cosines.columns()) + j);
}

// Background and foreground for a cosine: the colour cube's reds below zero,
// its greens above.
std::string CellStyle(double cosine) {
  const int strength =
      static_cast<int>(std::lround(5 * std::min(1.0, std::abs(cosine))));
  const int rest = 5 - strength;
  const int red = cosine < 0 ? 5 : rest, green = cosine < 0 ? rest : 5;
  return absl::StrFormat("\x1b[38;5;16;48;5;%dm",
                         16 + 36 * red + 6 * green + rest);
}

std::string StepRate(const LiveFacts& facts, absl::Time now) {
  if (facts.commits.size() < 2 || !facts.trouble.empty() ||
      now - facts.told_at > kRateWindow) {
    return "";
  }
  auto first = facts.commits.begin();
  const auto& last = facts.commits.back();
  while (std::next(first) != std::prev(facts.commits.end()) &&
         last.second - first->second > kRateWindow) {
    ++first;
  }
  const double seconds = absl::ToDoubleSeconds(last.second - first->second);
  if (seconds <= 0 || last.first <= first->first) return "";
  return absl::StrFormat(
      "%.3g steps/s", static_cast<double>(last.first - first->first) / seconds);
}

// The last ones that fit, as bars from -1 to 1.
std::string Bars(const std::deque<double>& cosines, int columns) {
  constexpr absl::string_view kBars[] = {"▁", "▂", "▃", "▄",
                                         "▅", "▆", "▇", "█"};
  std::string bars;
  const size_t count =
      std::min(cosines.size(), static_cast<size_t>(std::max(columns, 0)));
  for (size_t i = cosines.size() - count; i < cosines.size(); ++i) {
    const double share = std::clamp((cosines[i] + 1) / 2, 0.0, 1.0);
    absl::StrAppend(&bars, kBars[static_cast<size_t>(share * 7.999)]);
  }
  return bars;
}

class Picture {
 public:
  Picture(const LiveFacts& facts, absl::Time now, const WindowSize& size)
      : facts_(facts), now_(now), size_(size) {}

  std::vector<std::string> Draw() {
    Title();
    State();
    if (facts_.step.has_value()) {
      const v1::StepResult& result = facts_.step->result();
      // The ranks keep a third of the window, the losses get what is left.
      const int ranks =
          std::min<int>(facts_.step->ranks_size() + result.missing_ranks_size(),
                        std::max(1, (size_.rows - 10) / 3));
      Losses(size_.rows - static_cast<int>(lines_.size()) - ranks - 6);
      Trend();
      Ranks(ranks);
    }
    if (static_cast<int>(lines_.size()) < size_.rows) {
      lines_.resize(size_.rows - 1);
      Put(Line(size_.columns).Add("q quits", kDim));
    }
    lines_.resize(size_.rows);
    return std::move(lines_);
  }

 private:
  void Put(Line line) { lines_.push_back(line.Take()); }
  void PutEmpty() { lines_.emplace_back(); }

  void Title() {
    const std::string rate = StepRate(facts_, now_);
    std::string right =
        facts_.step.has_value()
            ? absl::StrCat("step ", facts_.step->result().step())
            : "no step yet";
    if (!rate.empty()) absl::StrAppend(&right, "  ", rate);
    // Where there is no room for both it is the names that are cut off.
    const int begin =
        std::max(0, size_.columns - static_cast<int>(right.size()));
    Line line(std::max(0, begin - 2));
    line.Add(facts_.session, kBold).Add(absl::StrCat(" on ", facts_.server));
    line.Widen(size_.columns);
    Put(line.To(begin).Add(right, kBold));
  }

  // In one line: is all well, and what did the last step do?
  void State() {
    Line line(size_.columns);
    if (!facts_.trouble.empty()) {
      line.Add(absl::StrCat("gone for ",
                            Spell(absl::Floor(now_ - facts_.gone_since,
                                              absl::Seconds(1))),
                            ", trying again: "),
               kRed)
          .Add(facts_.trouble);
    } else if (!facts_.step.has_value()) {
      line.Add("waiting for the first step");
    } else {
      const v1::StepResult& result = facts_.step->result();
      const v1::StepTimings& timings = facts_.step->trailer().timings();
      if (result.skipped_nonfinite_size() > 0) {
        line.Add(
            absl::StrCat("skipped: NaN or Inf from ", SkippedBecauseOf(result)),
            kYellow);
      } else if (result.warming_up()) {
        line.Add("warming up: not every loss has been seen", kYellow);
      } else if (result.solution().pareto_stationary()) {
        line.Add("Pareto-stationary: no direction helps all", kYellow);
      } else if (result.solution().conflict_free()) {
        line.Add("conflict-free", kGreen);
      } else {
        line.Add("in conflict: not every loss is helped", kYellow);
      }
      line.Add(absl::StrCat("   ", result.update_length(),
                            " parameters   solve ",
                            Spell(ToDuration(timings.solve())), "   commit ",
                            Spell(ToDuration(timings.commit()))));
      if (now_ - facts_.told_at > kQuiet) {
        line.Add(absl::StrCat("   last step ",
                              Spell(absl::Floor(now_ - facts_.told_at,
                                                absl::Seconds(1))),
                              " ago"),
                 kYellow);
      }
    }
    Put(std::move(line));
    PutEmpty();
  }

  void Losses(int most) {
    const v1::StepResult& result = facts_.step->result();
    const int m = static_cast<int>(result.cosines().rows());
    constexpr int kCell = 6;
    const bool has_losses = result.losses_size() == m;
    const int begin = has_losses ? 46 : 36;
    const int cells =
        std::clamp((size_.columns - begin) / kCell, 0, std::max(m, 0));
    Line head(size_.columns);
    head.Add(absl::StrFormat("%4s ", "loss"), kDim);
    if (has_losses) head.Add(absl::StrFormat("%10s", "value"), kDim);
    head.Add(absl::StrFormat("%10s%10s%8s", "norm", "weight", "helped"), kDim);
    head.To(begin);
    if (cells > 0) head.Add("cosines between losses", kDim);
    Put(std::move(head));
    Line numbers(size_.columns);
    numbers.To(begin);
    for (int j = 0; j < cells; ++j) {
      numbers.Add(absl::StrFormat("%*d", kCell - 1, j), kDim).Add(" ");
    }
    Put(std::move(numbers));
    const int shown = std::clamp(most, 0, m);
    for (int i = 0; i < shown; ++i) {
      Line line(size_.columns);
      line.Add(absl::StrFormat("%4d ", i), kBold);
      if (has_losses) line.Add(absl::StrFormat("%10.4g", result.losses(i)));
      line.Add(absl::StrFormat("%10.3g%10.3g", Norm(i), Weight(i)));
      Helped(i, &line);
      line.To(begin);
      for (int j = 0; j < cells; ++j) {
        const double cosine = Cosine(result.cosines(), i, j);
        line.Add(absl::StrFormat("%*.2f ", kCell - 1, cosine),
                 CellStyle(cosine));
      }
      Put(std::move(line));
    }
    if (shown < m || cells < m) {
      Put(Line(size_.columns)
              .Add(absl::StrCat("     ", shown, " of ", m, " losses, ", cells,
                                " of ", m, " cosines; --json has all"),
                   kDim));
    }
    PutEmpty();
  }

  double Norm(int i) const {
    const v1::Matrix& gram = facts_.step->result().gram();
    return std::sqrt(std::max(0.0, Cosine(gram, i, i)));
  }
  double Weight(int i) const {
    const v1::Solution& solution = facts_.step->result().solution();
    return i < solution.coefficients_size() ? solution.coefficients(i) : 0;
  }
  // The direction's cosine to the loss.
  void Helped(int i, Line* line) const {
    const v1::StepTrailer& trailer = facts_.step->trailer();
    if (i >= trailer.direction_cosines_size()) {
      line->Add(absl::StrFormat("%8s", "-"));
      return;
    }
    const double cosine = trailer.direction_cosines(i);
    line->Add(absl::StrFormat("%8.3f", cosine), cosine < 0 ? kRed : "");
  }

  void Trend() {
    if (facts_.worst_cosines.size() < 2) return;
    Line line(size_.columns);
    line.Add("worst pair ", kDim);
    line.Add(absl::StrFormat("%6.3f ", facts_.worst_cosines.back()));
    Put(line.Add(Bars(facts_.worst_cosines, size_.columns - line.width())));
    PutEmpty();
  }

  void Ranks(int most) {
    const auto& ranks = facts_.step->ranks();
    const auto& missing = facts_.step->result().missing_ranks();
    Line head(size_.columns);
    Put(head.Add(absl::StrFormat("%4s %10s%10s", "rank", "receive", "waited"),
                 kDim));
    const v1::StepDiagnostics::Rank* const last = LastRank(*facts_.step);
    int left = most;
    // The missing ones first: they are what one looks for.
    for (const uint32_t rank : missing) {
      if (left-- <= 0) break;
      Line line(size_.columns);
      line.Add(absl::StrFormat("%4d ", rank), kBold);
      Put(line.Add(" was not in the step's round", kRed));
    }
    for (auto rank = ranks.begin(); rank != ranks.end() && left > 0; ++rank) {
      --left;
      Line line(size_.columns);
      line.Add(absl::StrFormat("%4d ", rank->rank()), kBold);
      line.Add(absl::StrFormat("%10s%10s", Spell(ToDuration(rank->receive())),
                               Spell(ToDuration(rank->wait()))));
      if (&*rank == last && ranks.size() > 1) {
        line.Add("   came last", kYellow);
      }
      Put(std::move(line));
    }
    const int all = ranks.size() + missing.size();
    if (all > most) {
      Put(Line(size_.columns)
              .Add(absl::StrCat("     ", most, " of ", all, " ranks"), kDim));
    }
  }

  const LiveFacts& facts_;
  const absl::Time now_;
  const WindowSize size_;
  std::vector<std::string> lines_;
};

}  // namespace

void AddStep(const v1::StepDiagnostics& step, absl::Time now,
             LiveFacts* facts) {
  const google::protobuf::Timestamp& time = step.commit_time();
  facts->commits.emplace_back(
      step.result().step(),
      absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos()));
  if (facts->commits.size() > kRememberedCommits) facts->commits.pop_front();
  const v1::Matrix& cosines = step.result().cosines();
  if (cosines.rows() > 1) {
    facts->worst_cosines.push_back(WorstCosine(cosines));
    if (facts->worst_cosines.size() > kRememberedCosines) {
      facts->worst_cosines.pop_front();
    }
  }
  facts->step = step;
  facts->told_at = now;
  facts->trouble.clear();
}

std::vector<std::string> DrawLivePicture(const LiveFacts& facts, absl::Time now,
                                         const WindowSize& size) {
  return Picture(facts, now, size).Draw();
}

}  // namespace concord
