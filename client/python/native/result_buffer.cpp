#include "client/python/native/bind.h"
#include "client/python/native/result_pool.h"

namespace concord::python {

namespace nb = nanobind;

namespace {

// Writable bytes: torch.frombuffer makes a tensor of them, which keeps the
// ResultBuffer alive.
int GetBuffer(PyObject* self, Py_buffer* view, int flags) {
  const auto* buffer = nb::inst_ptr<ResultBuffer>(self);
  return PyBuffer_FillInfo(view, self, buffer->data(),
                           static_cast<Py_ssize_t>(buffer->size()),
                           /*readonly=*/0, flags);
}

PyType_Slot kSlots[] = {
    {Py_bf_getbuffer, reinterpret_cast<void*>(&GetBuffer)},
    {0, nullptr},
};

}  // namespace

void BindResultBuffer(nb::module_& module) {
  nb::class_<ResultBuffer>(module, "ResultBuffer", nb::type_slots(kSlots))
      .def_prop_ro("nbytes", &ResultBuffer::size);
}

}  // namespace concord::python
