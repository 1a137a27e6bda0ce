#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/python/native/bind.h"
#include "client/python/native/convert.h"
#include "client/python/native/engine.h"
#include "client/python/native/errors.h"
#include "operators/combine/combiner.h"
#include "operators/errors.h"
#include "operators/kernels/cpu_kernels.h"
#include "operators/kernels/device_kernels.h"
#include "operators/losses/loss_recorder.h"

namespace concord::python {

namespace nb = nanobind;

namespace {

// Loss indexes are checked by the engine; only what an int cannot hold is
// refused here.
int ToIndex(int64_t index) {
  if (index < INT32_MIN || index > INT32_MAX) {
    Raise(InvalidField("INDEX_OUT_OF_RANGE", "indexes", absl::StrCat(index),
                       "an index of a loss"));
  }
  return static_cast<int>(index);
}

std::vector<int> ToIndexes(const std::vector<int64_t>& indexes) {
  std::vector<int> result;
  result.reserve(indexes.size());
  for (const int64_t index : indexes) result.push_back(ToIndex(index));
  return result;
}

// Empty: the engine's own type.
std::optional<HalfType> ToHalfType(const std::string& name) {
  if (name.empty()) return std::nullopt;
  if (name == "bfloat16") return HalfType::kBfloat16;
  if (name == "float16") return HalfType::kFloat16;
  Raise(InvalidField("INVALID_OPTION", "gradient_type", name,
                     "bfloat16, float16, or nothing"));
}

std::vector<const void*> ToPointers(const std::vector<uintptr_t>& addresses) {
  std::vector<const void*> result;
  result.reserve(addresses.size());
  for (const uintptr_t address : addresses) {
    result.push_back(reinterpret_cast<const void*>(address));
  }
  return result;
}

std::unique_ptr<Engine> MakeEngine(const OperatorOptions& options,
                                   std::shared_ptr<Kernels> kernels) {
  absl::StatusOr<std::unique_ptr<Engine>> engine;
  {
    const nb::gil_scoped_release release;
    engine = Engine::Create(options, std::move(kernels));
  }
  return ValueOrRaise(std::move(engine));
}

// The short way of the commonest call: one loss's gradient, host memory.
std::unique_ptr<ResultBuffer> StepOne(Engine& engine, int64_t index,
                                      uintptr_t address, size_t count) {
  if (count != engine.options().num_parameters) {
    Raise(InvalidField("LENGTH_MISMATCH", "grads[0].length",
                       absl::StrCat(count),
                       absl::StrCat(engine.options().num_parameters)));
  }
  const int loss = ToIndex(index);
  const void* const gradient = reinterpret_cast<const void*>(address);
  absl::StatusOr<std::unique_ptr<ResultBuffer>> result;
  {
    const nb::gil_scoped_release release;
    result = engine.Step({&loss, 1}, {&gradient, 1}, Engine::Extras());
  }
  return ValueOrRaise(std::move(result));
}

std::unique_ptr<ResultBuffer> StepMany(Engine& engine,
                                       const std::vector<int64_t>& indexes,
                                       const std::vector<uintptr_t>& addresses,
                                       const Engine::Extras& extras) {
  const std::vector<int> losses = ToIndexes(indexes);
  const std::vector<const void*> gradients = ToPointers(addresses);
  absl::StatusOr<std::unique_ptr<ResultBuffer>> result;
  {
    const nb::gil_scoped_release release;
    result = engine.Step(losses, gradients, extras);
  }
  return ValueOrRaise(std::move(result));
}

void StepInto(Engine& engine, const std::vector<int64_t>& indexes,
              const std::vector<uintptr_t>& addresses,
              const Engine::Extras& extras, uintptr_t update) {
  const std::vector<int> losses = ToIndexes(indexes);
  const std::vector<const void*> gradients = ToPointers(addresses);
  absl::Status status;
  {
    const nb::gil_scoped_release release;
    status =
        engine.Step(losses, gradients, extras, reinterpret_cast<void*>(update));
  }
  RaiseIfError(status);
}

// The first phase of a sharded engine's step; the products as a triangle.
std::vector<double> IngestStep(Engine& engine,
                               const std::vector<int64_t>& indexes,
                               const std::vector<uintptr_t>& addresses,
                               const std::string& gradient_type) {
  const std::vector<int> losses = ToIndexes(indexes);
  const std::vector<const void*> gradients = ToPointers(addresses);
  const std::optional<HalfType> type = ToHalfType(gradient_type);
  absl::StatusOr<Eigen::MatrixXd> products;
  {
    const nb::gil_scoped_release release;
    products = engine.Ingest(losses, gradients, type);
  }
  return ToTriangle(ValueOrRaise(std::move(products)));
}

void SolveStep(Engine& engine, const std::vector<double>& products,
               const std::vector<int64_t>& loss_indexes,
               const std::vector<double>& losses,
               const std::vector<int64_t>& active) {
  Engine::Extras extras;
  extras.loss_indexes = ToIndexes(loss_indexes);
  extras.losses = losses;
  extras.active = ToIndexes(active);
  const Eigen::MatrixXd summed = FromTriangle(products);
  absl::Status status;
  {
    const nb::gil_scoped_release release;
    status = engine.Solve(summed, extras);
  }
  RaiseIfError(status);
}

void CommitStep(Engine& engine, uintptr_t update) {
  absl::Status status;
  {
    const nb::gil_scoped_release release;
    status = engine.Commit(reinterpret_cast<void*>(update));
  }
  RaiseIfError(status);
}

nb::object Committed(Engine& engine) {
  StepSolution solution;
  int64_t steps = 0;
  {
    const nb::gil_scoped_release release;
    engine.Look([&](MomentumOperator& momentum) {
      steps = momentum.committed_steps();
      if (momentum.committed() != nullptr) solution = *momentum.committed();
    });
  }
  if (steps == 0) return nb::none();
  nb::dict result = ToDict(solution);
  result["step"] = steps;
  return result;
}

nb::bytes ToBytes(const std::vector<std::byte>& bytes) {
  return nb::bytes(bytes.data(), bytes.size());
}

std::vector<std::byte> FromBytes(nb::handle handle) {
  const auto bytes = nb::cast<nb::bytes>(handle);
  const auto* begin = reinterpret_cast<const std::byte*>(bytes.c_str());
  return std::vector<std::byte>(begin, begin + bytes.size());
}

nb::dict Export(Engine& engine) {
  absl::StatusOr<OperatorState> exported;
  {
    const nb::gil_scoped_release release;
    engine.Look(
        [&](MomentumOperator& momentum) { exported = momentum.Export(); });
  }
  const OperatorState state = ValueOrRaise(std::move(exported));
  nb::dict result;
  nb::list momenta;
  for (const auto& row : state.momenta) momenta.append(ToBytes(row));
  result["momenta"] = momenta;
  nb::list others;
  for (const auto& vector : state.others) others.append(ToBytes(vector));
  result["others"] = others;
  result["gram"] = ToRows(state.gram);
  result["updates"] = nb::cast(state.updates);
  result["last_updates"] = nb::cast(state.last_updates);
  result["live_steps"] = state.live_steps;
  result["committed_steps"] = state.committed_steps;
  result["coefficients"] = nb::cast(state.coefficients);
  result["previous"] = nb::cast(state.previous);
  result["correction"] = state.correction;
  result["scales"] = nb::cast(state.scales);
  result["combiner"] = nb::cast(state.combiner);
  result["recorder"] = nb::cast(state.recorder);
  return result;
}

void Import(Engine& engine, const nb::dict& from) {
  OperatorState state;
  for (const nb::handle row : nb::cast<nb::list>(from["momenta"])) {
    state.momenta.push_back(FromBytes(row));
  }
  for (const nb::handle vector : nb::cast<nb::list>(from["others"])) {
    state.others.push_back(FromBytes(vector));
  }
  state.gram =
      FromRows(nb::cast<std::vector<std::vector<double>>>(from["gram"]));
  state.updates = nb::cast<std::vector<int64_t>>(from["updates"]);
  state.last_updates = nb::cast<std::vector<int64_t>>(from["last_updates"]);
  state.live_steps = nb::cast<int64_t>(from["live_steps"]);
  state.committed_steps = nb::cast<int64_t>(from["committed_steps"]);
  state.coefficients = nb::cast<std::vector<double>>(from["coefficients"]);
  state.previous = nb::cast<std::vector<double>>(from["previous"]);
  state.correction = nb::cast<double>(from["correction"]);
  state.scales = nb::cast<std::vector<double>>(from["scales"]);
  state.combiner = nb::cast<std::vector<double>>(from["combiner"]);
  state.recorder = nb::cast<std::vector<double>>(from["recorder"]);
  absl::Status status;
  {
    const nb::gil_scoped_release release;
    engine.Look(
        [&](MomentumOperator& momentum) { status = momentum.Import(state); });
  }
  RaiseIfError(status);
}

// One as the contract's options say; in JSON's terms.
std::unique_ptr<LossRecorder> MakeRecorder(const OperatorOptions& options) {
  if (!options.loss_recorder.has_value()) {
    Raise(InvalidField("INVALID_OPTION", "loss_recorder", "none",
                       "a recorder's options"));
  }
  return ValueOrRaise(
      MakeLossRecorder(*options.loss_recorder, options.num_vectors));
}

}  // namespace

void BindEngine(nb::module_& module) {
  nb::class_<Kernels>(module, "Kernels")
      .def_prop_ro("device", &Kernels::device)
      .def_prop_ro("backend", &Kernels::backend)
      .def_prop_ro("threads", &Kernels::threads)
      .def_prop_ro("host_accessible", &Kernels::host_accessible);
  module.def("cpu_kernels", &MakeCpuKernels, nb::arg("threads"));
  module.def("cpu_instruction_set", &CpuInstructionSet);
  // Loading a module and making a device's context take seconds.
  module.def(
      "device_kernels",
      [](const std::string& device) {
        absl::StatusOr<std::shared_ptr<Kernels>> kernels;
        {
          const nb::gil_scoped_release release;
          kernels = LoadDeviceKernels(device);
        }
        return ValueOrRaise(std::move(kernels));
      },
      nb::arg("device"));
  module.def(
      "torch_kernels",
      [](const std::string& device, const std::string& module_path) {
        return ValueOrRaise(LoadTorchKernels(device, module_path));
      },
      nb::arg("device"), nb::arg("module_path") = "");

  nb::class_<Engine>(module, "Engine")
      .def(nb::new_(&MakeEngine), nb::arg("options"), nb::arg("kernels"))
      .def_prop_ro(
          "options", [](const Engine& engine) { return engine.options(); },
          nb::rv_policy::copy)
      .def("step_one", &StepOne, nb::arg("index"), nb::arg("address"),
           nb::arg("count"))
      .def(
          "step",
          [](Engine& engine, const std::vector<int64_t>& indexes,
             const std::vector<uintptr_t>& addresses, bool update_cosines,
             const std::vector<int64_t>& loss_indexes,
             const std::vector<double>& losses,
             const std::vector<int64_t>& active,
             const std::string& gradient_type) {
            return StepMany(engine, indexes, addresses,
                            {ToIndexes(loss_indexes), losses, ToIndexes(active),
                             update_cosines, ToHalfType(gradient_type)});
          },
          nb::arg("indexes"), nb::arg("addresses"), nb::arg("update_cosines"),
          nb::arg("loss_indexes"), nb::arg("losses"), nb::arg("active"),
          nb::arg("gradient_type"))
      .def(
          "step_into",
          [](Engine& engine, const std::vector<int64_t>& indexes,
             const std::vector<uintptr_t>& addresses, bool update_cosines,
             const std::vector<int64_t>& loss_indexes,
             const std::vector<double>& losses,
             const std::vector<int64_t>& active,
             const std::string& gradient_type, uintptr_t update) {
            StepInto(engine, indexes, addresses,
                     {ToIndexes(loss_indexes), losses, ToIndexes(active),
                      update_cosines, ToHalfType(gradient_type)},
                     update);
          },
          nb::arg("indexes"), nb::arg("addresses"), nb::arg("update_cosines"),
          nb::arg("loss_indexes"), nb::arg("losses"), nb::arg("active"),
          nb::arg("gradient_type"), nb::arg("update"))
      .def("ingest", &IngestStep, nb::arg("indexes"), nb::arg("addresses"),
           nb::arg("gradient_type"))
      .def("solve", &SolveStep, nb::arg("products"), nb::arg("loss_indexes"),
           nb::arg("losses"), nb::arg("active"))
      .def("commit", &CommitStep, nb::arg("update"))
      .def("reset", &Engine::Reset, nb::call_guard<nb::gil_scoped_release>())
      .def("result_buffer",
           [](Engine& engine) { return ValueOrRaise(engine.TakeBuffer()); })
      .def("retake_gram",
           [](Engine& engine) {
             absl::Status status;
             Eigen::MatrixXd gram;
             {
               const nb::gil_scoped_release release;
               engine.Look([&](MomentumOperator& momentum) {
                 status = momentum.RetakeGram();
                 gram = momentum.Stored().numbers.gram;
               });
             }
             RaiseIfError(status);
             return ToTriangle(gram);
           })
      .def("numbers_checksum", &Engine::NumbersChecksum,
           nb::call_guard<nb::gil_scoped_release>())
      .def(
          "reconfigure",
          [](Engine& engine, const OperatorOptions& options) {
            absl::Status status;
            {
              const nb::gil_scoped_release release;
              engine.Look([&](MomentumOperator& momentum) {
                status = momentum.Reconfigure(options);
              });
            }
            RaiseIfError(status);
          },
          nb::arg("options"))
      .def("committed", &Committed)
      .def("vector_names",
           [](Engine& engine) {
             std::vector<std::string> names;
             engine.Look([&](MomentumOperator& momentum) {
               names = momentum.VectorNames();
             });
             return names;
           })
      .def("export_state", &Export)
      .def("import_state", &Import, nb::arg("state"));

  module.def(
      "solve",
      [](const std::vector<std::vector<double>>& gram,
         const OperatorOptions& options, const std::vector<double>& state,
         const std::vector<double>& losses) {
        CombineInput input;
        input.gram = FromRows(gram);
        input.state = state;
        input.losses = losses;
        RaiseIfError(ValidateGram(input.gram));
        const auto combiner = ValueOrRaise(
            MakeCombiner(options.combiner, static_cast<int>(gram.size())));
        if (combiner->works_on_columns()) {
          Raise(InvalidField("INVALID_OPTION", "combiner", combiner->name(),
                             "a method that a Gram matrix is enough for"));
        }
        const Combination found = ValueOrRaise(combiner->Solve(input));
        nb::dict result = ToDict(found);
        result["state"] = nb::cast(found.state);
        return result;
      },
      nb::arg("gram"), nb::arg("options"),
      nb::arg("state") = std::vector<double>(),
      nb::arg("losses") = std::vector<double>());

  nb::class_<LossRecorder>(module, "LossRecorder")
      .def("record",
           [](LossRecorder& recorder, const std::vector<int64_t>& indexes,
              const std::vector<double>& losses) {
             RaiseIfError(recorder.Record(ToIndexes(indexes), losses));
           })
      .def("losses", [](const LossRecorder& r) { return r.losses(); })
      .def("seen", [](const LossRecorder& r) { return r.seen(); })
      .def("state", [](const LossRecorder& r) { return r.State(); })
      .def("restore",
           [](LossRecorder& recorder, const std::vector<double>& state) {
             RaiseIfError(recorder.Restore(state));
           });
  module.def("loss_recorder", &MakeRecorder, nb::arg("options"));
}

}  // namespace concord::python
