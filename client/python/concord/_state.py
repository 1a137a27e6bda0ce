"""States of momentum operators: dictionaries of tensors, and files of them.

The names and the file's format are those of a server's checkpoints: safetensors, with
a checksum as the last tensor (proto/concord/v1/checkpoint.proto). A state's entry
"metadata" is a dictionary of strings.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy
import torch

from concord import _native
from concord.errors import invalid

__all__ = ["engine_state", "from_engine", "metadata_of", "pack", "unpack"]

State = dict[str, Any]

_VERSION = "1"
_TYPES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.uint64: "U64",
}
_DTYPES = {name: dtype for dtype, name in _TYPES.items()}
_INTEGERS = ("updates", "last_updates")
_REALS = ("coefficients", "previous", "scales", "combiner", "recorder")


def pack(state: Mapping[str, Any]) -> bytes:
    """The file of a state."""
    tensors = {name: tensor for name, tensor in state.items() if name != "metadata"}
    header: dict[str, Any] = {
        "__metadata__": {"format": "concord", "version": _VERSION, **state.get("metadata", {})}
    }
    pieces = []
    offset = 0
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in _TYPES:
            raise invalid("INVALID_OPTION", f"state[{name!r}]", type(tensor).__name__, "a tensor")
        data = tensor.detach().cpu().contiguous().numpy().tobytes()
        header[name] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        pieces.append(data)
        offset += len(data)
    header["checksum"] = {"dtype": "U64", "shape": [1], "data_offsets": [offset, offset + 8]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    whole = b"".join([struct.pack("<Q", len(text)), text, *pieces])
    return whole + struct.pack("<Q", _native.checksum(whole))


def unpack(file: bytes) -> State:
    """The state in a file that came from a server, or from `pack`."""
    (length,) = struct.unpack_from("<Q", file)
    header = json.loads(file[8 : 8 + length])
    (checksum,) = struct.unpack_from("<Q", file, len(file) - 8)
    if checksum != _native.checksum(file[:-8]):
        raise invalid("CHECKPOINT_DAMAGED", "file", "its checksum does not fit", "a whole file")
    state: State = {"metadata": header.pop("__metadata__")}
    header.pop("checksum")
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        dtype = _DTYPES[tensor["dtype"]]
        data = bytearray(file[8 + length + begin : 8 + length + end])
        values = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        state[name] = values.reshape(tensor["shape"])
    return state


def metadata_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """A state's own. `settings`: keywords of _native.make_options."""
    options = {
        "num_vectors": settings["num_vectors"],
        "num_parameters": settings["num_parameters"],
        "data_type": settings["dtype"].upper(),
        "options": json.loads(settings["methods"]),
    }
    return {"options": json.dumps(options)}


def from_engine(exported: Mapping[str, Any], names: list[str], metadata: dict[str, str]) -> State:
    """What `Engine.export_state` gives, as a state. `names`: of its vectors."""
    dtype = torch.float64 if '"FLOAT64"' in metadata["options"] else torch.float32
    vectors = [*exported["momenta"], *exported["others"]]
    state: State = {
        name: vector
        if isinstance(vector, torch.Tensor)
        else torch.frombuffer(bytearray(vector), dtype=dtype)
        for name, vector in zip(names, vectors)
    }
    m = len(exported["updates"])
    state["gram"] = torch.from_numpy(numpy.array(exported["gram"], dtype=numpy.float64)).reshape(
        m, m
    )
    for name in _INTEGERS:
        state[name] = torch.tensor(exported[name], dtype=torch.int64)
    for name in _REALS:
        state[name] = torch.tensor(exported[name], dtype=torch.float64)
    state["live_steps"] = torch.tensor(exported["live_steps"], dtype=torch.int64)
    state["committed_step"] = torch.tensor(exported["committed_steps"], dtype=torch.int64)
    state["correction"] = torch.tensor(exported["correction"], dtype=torch.float64)
    state["metadata"] = metadata
    return state


def engine_state(state: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """The other way round, for `Engine.import_state`."""
    found = [name for name in state if _is_vector(name)]
    if sorted(found) != sorted(names):
        raise invalid("INVALID_OPTION", "state", ", ".join(found), ", ".join(names))
    exported: dict[str, Any] = {"momenta": [], "others": []}
    for name in names:
        data = state[name].detach().cpu().contiguous().numpy().tobytes()
        exported["momenta" if name.startswith("momentum.") else "others"].append(data)
    exported["gram"] = state["gram"].tolist()
    for name in (*_INTEGERS, *_REALS):
        exported[name] = state[name].tolist()
    exported["live_steps"] = int(state["live_steps"])
    exported["committed_steps"] = int(state["committed_step"])
    exported["correction"] = float(state["correction"])
    return exported


def _is_vector(name: str) -> bool:
    return name.startswith(("momentum.", "second_momentum")) or name in ("direction", "update")
