#include "tests/bench/report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace concord::bench {
namespace {

std::string Cell(const std::optional<Figure>& figure) {
  if (!figure.has_value()) return "-";
  return absl::StrFormat("%.4g [%.4g, %.4g]", figure->median, figure->low,
                         figure->high);
}

std::string TargetCell(const std::optional<Target>& target) {
  if (!target.has_value()) return "-";
  if (target->against == "ms")
    return absl::StrFormat("<= %g ms", target->limit);
  return absl::StrFormat("<= %g x %s", target->limit, target->against);
}

nlohmann::json FigureJson(const Figure& figure) {
  nlohmann::json json = {
      {"median", figure.median}, {"low", figure.low}, {"high", figure.high}};
  if (figure.p99.has_value()) json["p99"] = *figure.p99;
  return json;
}

}  // namespace

std::optional<Target> TargetOf(const std::string& kind, size_t n, int m) {
  if (kind == "embedded") {
    if (n == 10'000 && m <= 3) return Target{"ms", 0.015};
    if (n >= 1'000'000) return Target{"floor", m <= 3 ? 1.15 : 1.3};
  } else if (kind == "streamed" && m <= 3) {
    if (n == 10'000) return Target{"echo", 1.15};
    if (n == 1'000'000) return Target{"echo + floor", 1.2};
    if (n == 10'000'000) return Target{"echo", 1.1};
  } else if (kind == "shared") {
    return Target{"embedded + 2 copies + .06 ms", 1};
  } else if (kind == "round") {
    return Target{"embedded", 1.25};
  } else if (kind == "round_tcp") {
    return Target{"echo + embedded", 1.1};
  }
  return std::nullopt;
}

std::optional<bool> KeepsTarget(const Row& row) {
  const std::optional<Target> target = TargetOf(row.kind, row.n, row.m);
  if (!target.has_value()) return std::nullopt;
  if (target->against == "ms") return row.step.median <= target->limit;
  if (!row.ratio.has_value()) return std::nullopt;
  return *row.ratio <= target->limit;
}

std::string Table(const Setting& setting, const std::vector<Row>& rows) {
  std::string table = absl::StrFormat(
      "fp32, one updated loss per step, %d thread%s on either side, %s, chunks "
      "of %d bytes; "
      "milliseconds: median [lowest, highest] of %d turns, p99 of steps\n",
      setting.threads, setting.threads == 1 ? "" : "s", setting.instruction_set,
      setting.chunk_bytes, setting.turns);
  constexpr char kLine[] =
      "%-9s %9s %2s  %-24s %8s  %-24s %-24s %7s  %-20s %s\n";
  absl::StrAppend(&table, absl::StrFormat(kLine, "", "n", "m", "concord", "p99",
                                          "fused_floor", "raw_echo", "ratio",
                                          "target", ""));
  for (const Row& row : rows) {
    const std::optional<bool> keeps = KeepsTarget(row);
    absl::StrAppend(
        &table,
        absl::StrFormat(
            kLine, row.kind, absl::StrCat(row.n), absl::StrCat(row.m),
            Cell(row.step), absl::StrFormat("%.4g", row.step.p99.value_or(0)),
            Cell(row.floor), Cell(row.echo),
            row.ratio.has_value() ? absl::StrFormat("%.3f", *row.ratio) : "-",
            TargetCell(TargetOf(row.kind, row.n, row.m)),
            keeps.has_value() ? (*keeps ? "kept" : "MISSED") : ""));
    if (row.embedded.has_value()) {
      absl::StrAppend(&table,
                      absl::StrFormat("%-9s embedded %s, copy %s\n", "",
                                      Cell(row.embedded), Cell(row.copy)));
    }
    if (row.phases.has_value()) {
      absl::StrAppend(
          &table, absl::StrFormat("%-9s ingest %.4g, solve %.4g, commit %.4g\n",
                                  "", row.phases->ingest_ms,
                                  row.phases->solve_ms, row.phases->commit_ms));
    }
  }
  return table;
}

nlohmann::json Json(const Setting& setting, const std::vector<Row>& rows) {
  nlohmann::json out = {{"unit", "ms"},
                        {"data_type", "float32"},
                        {"wire_type", setting.wire_type},
                        {"threads", setting.threads},
                        {"chunk_bytes", setting.chunk_bytes},
                        {"instruction_set", setting.instruction_set},
                        {"turns", setting.turns},
                        {"rows", nlohmann::json::array()}};
  for (const Row& row : rows) {
    nlohmann::json line = {{"kind", row.kind},
                           {"n", row.n},
                           {"m", row.m},
                           {"concord", FigureJson(row.step)}};
    if (row.phases.has_value()) {
      line["phases"] = {{"ingest", row.phases->ingest_ms},
                        {"solve", row.phases->solve_ms},
                        {"commit", row.phases->commit_ms}};
    }
    if (row.floor.has_value()) line["fused_floor"] = FigureJson(*row.floor);
    if (row.echo.has_value()) line["raw_echo"] = FigureJson(*row.echo);
    if (row.embedded.has_value()) line["embedded"] = FigureJson(*row.embedded);
    if (row.copy.has_value()) line["copy"] = FigureJson(*row.copy);
    if (row.ratio.has_value()) line["ratio"] = *row.ratio;
    if (const auto target = TargetOf(row.kind, row.n, row.m)) {
      line["target"] = {{"against", target->against}, {"limit", target->limit}};
    }
    if (const auto keeps = KeepsTarget(row)) line["kept"] = *keeps;
    out["rows"].push_back(std::move(line));
  }
  return out;
}

}  // namespace concord::bench
