#include <nanobind/stl/string.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "client/python/native/bind.h"
#include "client/python/native/errors.h"
#include "client/python/native/messages.h"
#include "operators/errors.h"
#include "operators/momentum/momentum_operator.h"
#include "proto/options/combiner_options.h"
#include "proto/options/operator_options.h"

namespace concord::python {

namespace nb = nanobind;

namespace {

// A number of Python's for a field that is an int: out of range is an error of
// the option, not of the conversion.
int ToCount(absl::string_view field, int64_t value) {
  if (value < 0 || value > 1'000'000'000) {
    Raise(InvalidField("INVALID_OPTION", field, absl::StrCat(value),
                       "a count >= 0"));
  }
  return static_cast<int>(value);
}

CombinerOptions ParseCombiner(const std::string& json) {
  return ValueOrRaise(FromMessage(ParseJson<v1::CombinerOptions>(json)));
}

// `methods`: a concord.v1.OperatorOptions in protobuf's JSON form.
OperatorOptions MakeOptions(int64_t num_vectors, size_t num_parameters,
                            const std::string& dtype,
                            int64_t max_vectors_per_step,
                            const std::string& methods, bool sharded) {
  OperatorOptions options;
  options.num_vectors = ToCount("num_vectors", num_vectors);
  options.num_parameters = num_parameters;
  options.max_vectors_per_step =
      ToCount("max_vectors_per_step", max_vectors_per_step);
  if (dtype == "float64") {
    options.dtype = Dtype::kFloat64;
  } else if (dtype != "float32") {
    Raise(InvalidField("INVALID_OPTION", "data_type", dtype,
                       "float32 or float64"));
  }
  options.sharded = sharded;
  RaiseIfError(ReadMethods(ParseJson<v1::OperatorOptions>(methods), &options));
  return options;
}

}  // namespace

void BindOptions(nb::module_& module) {
  nb::class_<OperatorOptions>(module, "Options")
      .def_prop_ro("num_vectors",
                   [](const OperatorOptions& o) { return o.num_vectors; })
      .def_prop_ro("num_parameters",
                   [](const OperatorOptions& o) { return o.num_parameters; })
      .def_prop_ro("dtype",
                   [](const OperatorOptions& o) { return Name(o.dtype); })
      .def("validate", [](const OperatorOptions& options) {
        RaiseIfError(MomentumOperator::Validate(options));
      });
  // Refuses what no operator could be made with; sizes are not looked at.
  module.def(
      "check_combiner",
      [](const std::string& combiner) {
        RaiseIfError(MakeCombiner(ParseCombiner(combiner), 0).status());
      },
      nb::arg("combiner"));
  module.def("make_options", &MakeOptions, nb::kw_only(),
             nb::arg("num_vectors"), nb::arg("num_parameters") = 1,
             nb::arg("dtype") = "float32", nb::arg("max_vectors_per_step") = 0,
             nb::arg("methods") = "{}", nb::arg("sharded") = false);
}

}  // namespace concord::python
