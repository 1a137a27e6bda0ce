#include "operators/momentum/layout.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "operators/dtype.h"
#include "operators/errors.h"
#include "operators/momentum/row_passes.h"

namespace concord {
namespace {

constexpr size_t kUncountable = std::numeric_limits<size_t>::max();
constexpr size_t kZeros = 1 << 16;  // Bytes that are made zero at a time.

size_t Elements(const LayoutSegment& segment) {
  size_t elements = 1;
  for (const uint64_t extent : segment.shape) {
    if (extent != 0 && elements > kUncountable / extent) return kUncountable;
    elements *= extent;
  }
  return elements;
}

std::string Spell(const LayoutSegment& segment) {
  return absl::StrCat("\"", segment.name, "\" (",
                      absl::StrJoin(segment.shape, ", "), ")");
}

struct Place {
  size_t position = 0;  // Among the segments.
  size_t begin = 0;     // Its first element.
};
using Places = std::map<std::string, Place>;

absl::StatusOr<Places> PlacesOf(absl::string_view field,
                                absl::Span<const LayoutSegment> layout) {
  if (NumParameters(layout) == 0 || NumParameters(layout) == kUncountable) {
    return InvalidField(
        "INVALID_OPTION", field,
        layout.empty() ? "no segments" : "no elements, or too many",
        "segments with at least one element");
  }
  Places places;
  size_t begin = 0;
  for (size_t i = 0; i < layout.size(); ++i) {
    const std::string name = absl::StrCat(field, ".segments[", i, "].name");
    if (layout[i].name.empty()) {
      return InvalidField("INVALID_OPTION", name, "\"\"",
                          "a name, by which segments are matched");
    }
    if (!places.emplace(layout[i].name, Place{i, begin}).second) {
      return InvalidField("INVALID_OPTION", name, layout[i].name,
                          "a name that no segment before it has");
    }
    begin += Elements(layout[i]);
  }
  return places;
}

absl::Status Zero(void* memory, size_t bytes, Kernels* kernels) {
  const std::vector<std::byte> zeros(std::min(bytes, kZeros));
  absl::Status status;
  for (size_t done = 0; done < bytes && status.ok(); done += zeros.size()) {
    status = kernels->CopyFromHost(Advance(memory, done), zeros.data(),
                                   std::min(zeros.size(), bytes - done));
  }
  return status;
}

absl::Status Rearrange(const LayoutChange& change, size_t element,
                       const void* from, void* to, Kernels* kernels) {
  size_t done = 0;
  const auto zero_up_to = [&](size_t end) {
    return Zero(Advance(to, done * element), (end - done) * element, kernels);
  };
  for (const LayoutChange::Run& run : change.runs) {
    absl::Status status = zero_up_to(run.to);
    if (status.ok()) {
      status = kernels->CopyOnDevice(Advance(to, run.to * element),
                                     Advance(from, run.from * element),
                                     run.count * element);
    }
    if (!status.ok()) return status;
    done = run.to + run.count;
  }
  return zero_up_to(change.new_parameters);
}

}  // namespace

size_t NumParameters(absl::Span<const LayoutSegment> layout) {
  size_t sum = 0;
  for (const LayoutSegment& segment : layout) {
    const size_t elements = Elements(segment);
    if (elements >= kUncountable - sum) return kUncountable;
    sum += elements;
  }
  return sum;
}

absl::StatusOr<LayoutChange> MatchLayouts(
    absl::Span<const LayoutSegment> previous,
    absl::Span<const LayoutSegment> layout) {
  const absl::StatusOr<Places> old_places = PlacesOf("previous", previous);
  if (!old_places.ok()) return old_places.status();
  const absl::StatusOr<Places> new_places = PlacesOf("layout", layout);
  if (!new_places.ok()) return new_places.status();
  LayoutChange change;
  change.old_parameters = NumParameters(previous);
  change.new_parameters = NumParameters(layout);
  size_t begin = 0;
  for (size_t i = 0; i < layout.size(); ++i) {
    const size_t count = Elements(layout[i]);
    const auto found = old_places->find(layout[i].name);
    if (found != old_places->end()) {
      const Place& old = found->second;
      if (previous[old.position].shape != layout[i].shape) {
        return InvalidField(
            "INVALID_OPTION", absl::StrCat("layout.segments[", i, "].shape"),
            Spell(layout[i]),
            absl::StrCat(Spell(previous[old.position]),
                         ", as before, or another name: it begins anew then"));
      }
      LayoutChange::Run* const last =
          change.runs.empty() ? nullptr : &change.runs.back();
      if (last != nullptr && last->from + last->count == old.begin &&
          last->to + last->count == begin) {
        last->count += count;
      } else if (count > 0) {
        change.runs.push_back({old.begin, begin, count});
      }
    }
    begin += count;
  }
  return change;
}

absl::Status MoveState(const LayoutChange& change, MomentumOperator* from,
                       MomentumOperator* to, Kernels* kernels) {
  if (from->options().num_parameters != change.old_parameters ||
      to->options().num_parameters != change.new_parameters) {
    return InvalidField(
        "INVALID_OPTION", "previous",
        absl::StrCat(change.old_parameters, " elements in all segments"),
        absl::StrCat(from->options().num_parameters,
                     ", the length of the vectors"));
  }
  const absl::StatusOr<OperatorSnapshot> snapshot = from->Snapshot();
  if (!snapshot.ok()) return snapshot.status();
  const size_t element = SizeOf(from->options().dtype);
  absl::Status status =
      to->Fill(snapshot->numbers, snapshot->vectors.size(),
               [&](size_t position, void* memory) {
                 return Rearrange(change, element,
                                  snapshot->vectors[position].vector->data(),
                                  memory, kernels);
               });
  return status.ok() ? to->RetakeGram() : status;
}

}  // namespace concord
