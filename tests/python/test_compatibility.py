"""Every earlier release's contract and files hold (release.py writes them)."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from conftest import ROOT, Server

sys.path.insert(0, str(ROOT / "tests" / "compatibility"))
from release import (
    HERE,
    LAST,
    SESSIONS,
    WRITTEN,
    contract,
    digests,
    open_session,
)

RELEASES = sorted(path.parent for path in HERE.glob("*/contract.binpb"))
Facts = dict[str, object]


def read(path: Path) -> descriptor_pb2.FileDescriptorSet:
    return descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())


def facts(files: descriptor_pb2.FileDescriptorSet) -> Facts:
    """What a client compiled against the contract relies on, by full name."""
    found: Facts = {}
    for file in files.file:
        for enum in file.enum_type:
            found.update(enum_facts(file.package, enum))
        for message in file.message_type:
            found.update(message_facts(file.package, message))
        for service in file.service:
            for method in service.method:
                found[f"rpc {file.package}.{service.name}/{method.name}"] = (
                    method.input_type,
                    method.output_type,
                    method.client_streaming,
                    method.server_streaming,
                )
    return found


def enum_facts(scope: str, enum: descriptor_pb2.EnumDescriptorProto) -> Facts:
    return {f"enum {scope}.{enum.name} {value.name}": value.number for value in enum.value}


def message_facts(scope: str, message: descriptor_pb2.DescriptorProto) -> Facts:
    name = f"{scope}.{message.name}"
    found: Facts = {}
    for field in message.field:
        oneof = field.HasField("oneof_index") and message.oneof_decl[field.oneof_index].name
        found[f"field {name} {field.number}"] = (
            field.name,
            descriptor_pb2.FieldDescriptorProto.Type.Name(field.type),
            field.type_name,
            descriptor_pb2.FieldDescriptorProto.Label.Name(field.label),
            oneof or "",
        )
    for enum in message.enum_type:
        found.update(enum_facts(name, enum))
    for nested in message.nested_type:
        found.update(message_facts(name, nested))
    return found


def broken(old: Facts, new: Facts) -> dict[str, tuple[object, object]]:
    return {key: (fact, new.get(key)) for key, fact in old.items() if new.get(key) != fact}


@pytest.fixture(scope="module")
def now(tmp_path_factory) -> descriptor_pb2.FileDescriptorSet:
    path = tmp_path_factory.mktemp("contract") / "contract.binpb"
    contract(path)
    return read(path)


def test_there_is_a_release_to_hold_to():
    assert RELEASES


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_the_contract_keeps_every_field_value_and_method(release, now):
    assert broken(facts(read(release / "contract.binpb")), facts(now)) == {}


CHANGES = {
    **dict.fromkeys(
        ["renumbered", "renamed", "retyped", "repeated", "removed"],
        "field concord.v1.StepHeader 1",
    ),
    "method": "rpc concord.v1.Concord/Step",
    "enum": "enum concord.v1.DataType FLOAT32",
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_incompatible_change_is_found(change, now):
    changed = descriptor_pb2.FileDescriptorSet()
    changed.CopyFrom(now)
    files = {file.name: file for file in changed.file}
    messages = {message.name: message for message in files["concord/v1/step.proto"].message_type}
    header = messages["StepHeader"]
    if change == "renumbered":
        header.field[0].number = 99
    elif change == "renamed":
        header.field[0].name = "number"
    elif change == "retyped":
        header.field[0].type = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
    elif change == "repeated":
        header.field[0].label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    elif change == "removed":
        del header.field[0]
    elif change == "method":
        methods = files["concord/v1/concord.proto"].service[0].method
        next(method for method in methods if method.name == "Step").client_streaming = False
    else:
        enums = files["concord/v1/operators.proto"].enum_type
        next(enum for enum in enums if enum.name == "DataType").value[1].number = 9
    assert list(broken(facts(now), facts(changed))) == [CHANGES[change]]


@pytest.fixture(scope="module", params=RELEASES, ids=lambda path: path.name)
def old(request, tmp_path_factory):
    """A server of this build on a copy of a release's files, and what they hold."""
    directory = tmp_path_factory.mktemp("old")
    with tarfile.open(request.param / "state.tar.gz") as archive:
        archive.extractall(directory)
    server = Server(directory, f"--state-dir={directory}/state", shared_memory=False)
    yield server.tcp, json.loads((request.param / "expected.json").read_text())
    assert server.stop() == 0


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_goes_on_with_the_same_bits_from_an_old_state_file(old, name):
    address, expected = old
    with open_session(address, name, resume_step=WRITTEN) as session:
        found = digests(session, WRITTEN + 1, LAST, SESSIONS[name]["dtype"])
    assert found == expected[name]


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_begins_with_the_same_bits_from_an_old_checkpoint(old, name):
    address, expected = old
    checkpoint = f"sessions/{name}/checkpoints/{WRITTEN}"
    more = {"restore_from": checkpoint, "resume_step": WRITTEN}
    with open_session(address, f"restored-{name}", **more) as session:
        found = digests(session, WRITTEN + 1, LAST, SESSIONS[name]["dtype"])
    assert found == expected[name]
