#include "client/cli/table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace concord {
namespace {

// Columns that a terminal takes for UTF-8 text without wide characters.
size_t Width(absl::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
  });
}

}  // namespace

std::string Printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; },
      '?');
  return text;
}

std::string Aligned(const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], Width(row[i]));
    }
  }
  std::string text;
  for (const Row& row : rows) {
    absl::StrAppend(&text, " ");
    for (size_t i = 0; i < row.size(); ++i) {
      absl::StrAppend(&text, " ", row[i]);
      if (i + 1 < row.size()) {
        text.append(widths[i] - Width(row[i]) + 1, ' ');
      }
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

}  // namespace concord
