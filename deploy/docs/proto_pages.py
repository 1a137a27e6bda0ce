"""Pages of the protocol, one a .proto file, made of what protoc reads in their comments."""

from __future__ import annotations

import posixpath
import re
import subprocess
import tempfile
import textwrap
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

import repository
from source_pages import escaped

_PACKAGE = ".concord.v1."
_OWN_TYPES = (Field.TYPE_MESSAGE, Field.TYPE_ENUM)
# Numbers of fields in descriptor.proto, which paths of comments are made of.
_SYNTAX, _PACKAGE_PATH = (12,), (2,)
_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
_FIELDS, _NESTED, _NESTED_ENUMS, _VALUES, _METHODS = 2, 3, 4, 2, 2

Path_ = tuple[int, ...]


def pages() -> dict[str, str]:
    files = _descriptors()
    places = {name: stem for stem, file in files.items() for name in _names(file)}
    made = {f"api/proto/{stem}.md": _Page(file, places).markdown() for stem, file in files.items()}
    rows = []
    for stem, file in files.items():
        first = _Page(file, places).comment(_PACKAGE_PATH).split(". ")[0].replace("\n", " ")
        rows.append(f"| [`{stem}.proto`]({stem}.md) | {escaped(first.rstrip('.'))} |")
    made["api/proto/index.md"] = (
        "# Protocol\n\nPackage `concord.v1`, made of the `.proto` files' own comments.\n\n"
        "| file | what |\n|---|---|\n" + "\n".join(rows) + "\n"
    )
    return made


def _descriptors() -> dict[str, descriptor_pb2.FileDescriptorProto]:
    folder = repository.ROOT / "proto"
    names = sorted((repository.ROOT / repository.PROTO).glob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "descriptors"
        subprocess.run(
            ["protoc", f"-I{folder}", "--include_source_info", f"--descriptor_set_out={output}"]
            + [str(name) for name in names],
            check=True,
        )
        found = descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())
    return {posixpath.basename(file.name).removesuffix(".proto"): file for file in found.file}


def _names(file: descriptor_pb2.FileDescriptorProto) -> list[str]:
    """All types of a file, as fields name them."""
    found: list[str] = [_PACKAGE + enum.name for enum in file.enum_type]

    def add(message: descriptor_pb2.DescriptorProto, scope: str) -> None:
        found.append(scope + message.name)
        inner = f"{scope}{message.name}."
        found.extend(inner + enum.name for enum in message.enum_type)
        for nested in message.nested_type:
            add(nested, inner)

    for message in file.message_type:
        add(message, _PACKAGE)
    return found


class _Page:
    """One file's."""

    def __init__(self, file: descriptor_pb2.FileDescriptorProto, places: dict[str, str]) -> None:
        self._file = file
        self._places = places
        self._locations = {tuple(place.path): place for place in file.source_code_info.location}
        self._lines: list[str] = []

    def markdown(self) -> str:
        name = posixpath.basename(self._file.name)
        self._lines = [f"# {name}\n", _prose(self.comment(_PACKAGE_PATH))]
        for i, service in enumerate(self._file.service):
            self._service(service, (_SERVICES, i))
        for i, message in enumerate(self._file.message_type):
            self._message(message, (_MESSAGES, i), "")
        for i, enum in enumerate(self._file.enum_type):
            self._enum(enum, (_ENUMS, i), "")
        return "\n".join(self._lines) + "\n"

    def comment(self, path: Path_) -> str:
        """Before a declaration and behind it."""
        place = self._locations.get(path)
        if place is None:
            return ""
        parts = [place.leading_comments, place.trailing_comments]
        if path == _PACKAGE_PATH:
            parts = [*self._locations[_SYNTAX].leading_detached_comments,
                     *place.leading_detached_comments, *parts]  # fmt: skip
        return "\n".join(re.sub(r"^ ", "", part, flags=re.MULTILINE).rstrip() for part in parts
                         if part.strip())  # fmt: skip

    def _heading(self, level: int, name: str) -> None:
        self._lines.append(f"\n{'#' * level} {name} {{ #{_anchor(name)} }}\n")

    def _service(self, service: descriptor_pb2.ServiceDescriptorProto, path: Path_) -> None:
        self._heading(2, service.name)
        self._lines.append(_prose(self.comment(path)))
        self._lines.append("\n| method | takes | gives | what |\n|---|---|---|---|")
        for i, method in enumerate(service.method):
            takes = self._type(method.input_type, method.client_streaming)
            gives = self._type(method.output_type, method.server_streaming)
            what = _cell(self.comment((*path, _METHODS, i)))
            self._lines.append(f"| `{method.name}` | {takes} | {gives} | {what} |")

    def _message(self, message: descriptor_pb2.DescriptorProto, path: Path_, scope: str) -> None:
        name = scope + message.name
        self._heading(2 if not scope else 3, name)
        self._lines.append(_prose(self.comment(path)))
        if message.field:
            self._lines.append("\n| field | type | number | what |\n|---|---|---|---|")
        for i, field in enumerate(message.field):
            what = _cell(self.comment((*path, _FIELDS, i)))
            if field.HasField("oneof_index") and not field.proto3_optional:
                group = message.oneof_decl[field.oneof_index].name
                what = f"{what} (one of `{group}`)".lstrip()
            kind = self._kind(field, message)
            self._lines.append(f"| `{field.name}` | {kind} | {field.number} | {what} |")
        for i, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                self._message(nested, (*path, _NESTED, i), f"{name}.")
        for i, enum in enumerate(message.enum_type):
            self._enum(enum, (*path, _NESTED_ENUMS, i), f"{name}.")

    def _enum(self, enum: descriptor_pb2.EnumDescriptorProto, path: Path_, scope: str) -> None:
        self._heading(2 if not scope else 3, scope + enum.name)
        self._lines.append(_prose(self.comment(path)))
        self._lines.append("\n| value | number | what |\n|---|---|---|")
        for i, value in enumerate(enum.value):
            what = _cell(self.comment((*path, _VALUES, i)))
            self._lines.append(f"| `{value.name}` | {value.number} | {what} |")

    def _kind(self, field: Field, message: descriptor_pb2.DescriptorProto) -> str:
        for nested in message.nested_type:
            if nested.options.map_entry and field.type_name.endswith(f".{nested.name}"):
                key, value = (self._kind(part, nested) for part in nested.field)
                return f"map of {key} to {value}"
        if field.type in _OWN_TYPES:
            kind = self._type(field.type_name)
        else:
            kind = Field.Type.Name(field.type).removeprefix("TYPE_").lower()
        if field.label == Field.LABEL_REPEATED:
            return f"repeated {kind}"
        return f"optional {kind}" if field.proto3_optional else kind

    def _type(self, name: str, streamed: bool = False) -> str:
        text = name.removeprefix(_PACKAGE).removeprefix(".")
        if name in self._places:
            text = f"[{text}]({self._places[name]}.md#{_anchor(text)})"
        return f"stream of {text}" if streamed else text


def _anchor(name: str) -> str:
    return name.replace(".", "-").lower()


def _cell(comment: str) -> str:
    return escaped(" ".join(comment.split()))


def _prose(comment: str) -> str:
    """Paragraphs; what is indented, or drawn, stands as it is."""
    blocks = []
    for block in re.split(r"\n\s*\n", comment):
        if re.match(r"\s{2}", block):
            blocks.append(f"```text\n{textwrap.dedent(block)}\n```")
        else:
            blocks.append(_with_lists(block))
    return "\n\n".join(blocks)


def _with_lists(block: str) -> str:
    lines, before = [], False
    for line in block.splitlines():
        item = re.match(r"\s*[*-] ", line)
        if item and not before and lines:
            lines.append("")
        before = bool(item) or (before and line.startswith("  "))
        lines.append(line if item is None else f"* {line[item.end() :]}")
    return "\n".join(escaped(line) if not line.startswith("* ") else f"* {escaped(line[2:])}"
                     for line in lines)  # fmt: skip
