"""Who may connect to a server, and do what; docs/SECURITY.md has the table."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
import torch

import concord
from concord.errors import (
    ConcordError,
    DeadlineExceeded,
    InvalidArgumentError,
    PermissionDenied,
    UnauthenticatedError,
)
from conftest import ROOT, SERVER, Server

CLI = SERVER.with_name("concord")
WORKERS, OTHERS, READER, ADMIN = (
    f"{name}-0123456789abcdef" for name in ("workers", "others", "reader", "admin")
)
TOKENS = {
    "tokens": [
        {"name": "workers", "token": WORKERS,
         "grants": [{"sessions": "heat-*", "rights": ["step"]}]},
        {"name": "others", "token": OTHERS,
         "grants": [{"sessions": "heat-*", "rights": ["step"]}]},
        {"name": "reader", "token": READER, "grants": [{"sessions": "*", "rights": ["read"]}]},
        {"name": "admin", "token": ADMIN, "grants": [{"sessions": "*", "rights": ["admin"]}]},
    ]
}  # fmt: skip
ROWS = torch.eye(2, 5)


def make_ca(directory, *arguments, days=30):
    subprocess.run(
        [ROOT / "deploy/tls/make_ca.sh", directory, *arguments],
        check=True,
        env={**os.environ, "DAYS": str(days)},
    )


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ca")
    make_ca(directory, "server")
    make_ca(directory, "heat-worker")
    make_ca(directory, "expired", days=-1)
    make_ca(directory / "other", "server")
    return directory


@contextlib.contextmanager
def serving(tmp_path, *options, shared_memory=True):
    server = Server(tmp_path, *options, shared_memory=shared_memory)
    try:
        yield server
    finally:
        assert server.stop() == 0


def tls(ca, name="server"):
    return [f"--tls-cert={ca}/{name}.pem", f"--tls-key={ca}/{name}.key"]


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(TOKENS))
    return path


def use(monkeypatch, **variables):
    """Sets CONCORD_<name> for clients to come; None takes one away."""
    for name, value in variables.items():
        if value is None:
            monkeypatch.delenv(f"CONCORD_{name.upper()}", raising=False)
        else:
            monkeypatch.setenv(f"CONCORD_{name.upper()}", str(value))


def connect(address, name="heat-1", timeout=5.0, **options):
    session = concord.Session(address, name=name, num_vectors=2, num_parameters=5, **options)
    return session.connect(timeout=timeout)


def owner_of(session, server):
    """As somebody on the server's machine with the same variables sees it."""
    said = subprocess.run(
        [CLI, "sessions", "describe", session.name, f"--server={server.tcp}", "--json"],
        capture_output=True, text=True, check=True, timeout=20,
    ).stdout  # fmt: skip
    return json.loads(said)["owner"]


def denials(server):
    """The log's entries of that, once the server has stopped."""
    entries = [json.loads(line) for line in server.log if line.startswith("{")]
    return [entry for entry in entries if entry["event"] == "access_denied"]


# ---- TLS ----------------------------------------------------------------------------


@pytest.mark.parametrize("shared_memory", [False, True])
def test_a_session_over_tls_has_the_updates_of_one_without(
    ca, tmp_path, monkeypatch, server, shared_memory
):
    with connect(server.tcp, shared_memory=False) as plain:
        expected = plain.step({0: ROWS[0], 1: ROWS[1]})
        plain.delete()
    use(monkeypatch, tls_ca=ca / "ca.pem")
    with (
        serving(tmp_path, *tls(ca)) as secure,
        connect(secure.tcp, shared_memory=shared_memory) as session,
    ):
        assert torch.equal(session.step({0: ROWS[0], 1: ROWS[1]}).update, expected.update)
        assert owner_of(session, secure) == ""


@pytest.mark.parametrize(
    "variables",
    [
        {},  # A server of TLS hangs up on who does not begin it.
        {"tls_ca": "{ca}/other/ca.pem"},
        {"tls_ca": "{ca}/ca.pem", "tls_server_name": "elsewhere"},
    ],
    ids=["no TLS", "wrong CA", "another name"],
)
def test_clients_that_do_not_trust_the_server_do_not_reach_it(ca, tmp_path, monkeypatch, variables):
    use(monkeypatch, **{name: text.format(ca=ca) for name, text in variables.items()})
    with serving(tmp_path, *tls(ca)) as secure:
        with pytest.raises(DeadlineExceeded, match="last error: UNAVAILABLE"):
            connect(secure.tcp, timeout=1.5)
        use(monkeypatch, tls_ca=ca / "ca.pem", tls_server_name=None)
        connect(secure.tcp).delete()


@pytest.mark.parametrize("certificate", [None, "expired", "other/server"])
def test_clients_without_a_good_certificate_do_not_reach_a_server_of_mutual_tls(
    ca, tmp_path, monkeypatch, certificate
):
    use(monkeypatch, tls_ca=ca / "ca.pem")
    with serving(tmp_path, *tls(ca), f"--tls-client-ca={ca}/ca.pem") as secure:
        if certificate:
            use(monkeypatch, tls_cert=ca / f"{certificate}.pem", tls_key=ca / f"{certificate}.key")
        with pytest.raises(DeadlineExceeded, match="last error: UNAVAILABLE"):
            connect(secure.tcp, timeout=1.5)
        use(monkeypatch, tls_cert=ca / "heat-worker.pem", tls_key=ca / "heat-worker.key")
        with connect(secure.tcp) as session:
            session.step({0: ROWS[0], 1: ROWS[1]})
            # Known by the certificate's name.
            assert owner_of(session, secure) == "heat-worker"


def certificate(ca, name):
    return ["-cert", ca / f"{name}.pem", "-key", ca / f"{name}.key"]


@pytest.mark.parametrize(
    ("shows", "said"),
    [
        (None, "wrong version number"),
        ("nothing", "peer did not return a certificate"),
        ("expired", "certificate verify failed"),
        ("other/server", "certificate verify failed"),
    ],
    ids=["no TLS", "no certificate", "expired", "another authority"],
)
def test_a_handshake_that_the_server_refuses_is_one_line_of_its_log(ca, tmp_path, shows, said):
    with serving(tmp_path, *tls(ca), f"--tls-client-ca={ca}/ca.pem") as secure:
        if shows is None:
            host, port = secure.tcp.split(":")
            with socket.create_connection((host, int(port)), timeout=20) as plain:
                plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                with contextlib.suppress(ConnectionResetError):
                    while plain.recv(4096):
                        pass
        else:
            handshake(secure.tcp, ca, *([] if shows == "nothing" else certificate(ca, shows)))
        until = time.monotonic() + 20
        while said not in "".join(secure.log) and time.monotonic() < until:
            time.sleep(0.05)
    refusals = [line for line in secure.log if "andshake failed" in line]
    assert len(refusals) == 1
    assert said in refusals[0]


@contextlib.contextmanager
def stepping(session):
    """Steps without a pause; the list has how many attempts each step took."""
    over = threading.Event()
    attempts, failed = [], []

    def step():
        while not over.is_set():
            try:
                attempts.append(session.step({0: ROWS[0], 1: ROWS[1]}).attempts)
            except ConcordError as error:
                failed.append(error)
                return

    steps = threading.Thread(target=step)
    steps.start()
    try:
        yield attempts
    finally:
        over.set()
        steps.join()
    assert not failed
    assert set(attempts) == {1}


def wait_until_shown(address, folder):
    until = time.monotonic() + 20
    expected = (folder / "server.pem").read_text()
    while shown(address, folder) != expected and time.monotonic() < until:
        time.sleep(0.05)
    assert shown(address, folder) == expected


def test_a_certificate_is_replaced_while_a_session_steps(ca, tmp_path, monkeypatch):
    folder = tmp_path / "certificates"
    make_ca(folder, "server")
    use(monkeypatch, tls_ca=folder / "ca.pem")
    with (
        serving(tmp_path, *tls(folder)) as secure,
        connect(secure.tcp, shared_memory=False) as session,
    ):
        with stepping(session) as attempts:
            wait_until_shown(secure.tcp, folder)
            make_ca(folder, "server")
            wait_until_shown(secure.tcp, folder)
            # Who comes now is served with it.
            connect(secure.tcp, name="heat-2", shared_memory=False).delete()
            replaced = len(attempts)
        assert replaced > 0
        assert session.step({0: ROWS[0], 1: ROWS[1]}).attempts == 1


def test_the_authority_of_mutual_tls_is_replaced_while_a_session_steps(tmp_path, monkeypatch):
    folder, successor, former = (tmp_path / name for name in ("in use", "successor", "former"))
    for directory in (folder, successor):
        make_ca(directory, "server")
        make_ca(directory, "heat-worker")
    shutil.copytree(folder, former)
    use(monkeypatch, tls_ca=folder / "ca.pem", tls_cert=folder / "heat-worker.pem",
        tls_key=folder / "heat-worker.key")  # fmt: skip
    with (
        serving(tmp_path, *tls(folder), f"--tls-client-ca={folder}/ca.pem") as secure,
        connect(secure.tcp, shared_memory=False) as session,
    ):
        with stepping(session) as attempts:
            for file in successor.iterdir():
                file.replace(folder / file.name)
            wait_until_shown(secure.tcp, folder)
            with connect(secure.tcp, name="heat-2", timeout=20, shared_memory=False) as second:
                assert owner_of(second, secure) == "heat-worker"
            # Whom the former authority knows comes in no more; who is in, stays.
            use(monkeypatch, tls_cert=former / "heat-worker.pem",
                tls_key=former / "heat-worker.key")  # fmt: skip
            replaced = len(attempts)
            with pytest.raises(DeadlineExceeded, match="last error: UNAVAILABLE"):
                connect(secure.tcp, name="heat-3", timeout=1.5, shared_memory=False)
        assert len(attempts) > replaced > 0


def handshake(address, ca, *options):
    """What OpenSSL says of one connection."""
    return subprocess.run(
        ["openssl", "s_client", "-connect", address, "-CAfile", ca / "ca.pem", "-alpn", "h2",
         *options],
        input="", capture_output=True, text=True, check=False, errors="replace", timeout=20,
    ).stdout  # fmt: skip


def shown(address, ca):
    """The certificate that a server shows, as a file has it."""
    said = handshake(address, ca)
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----\n"
    return said[said.index(begin) : said.index(end) + len(end)]


# ---- Tokens -------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["tcp", "unix", "shared"])
def test_a_token_opens_what_it_is_for(tokens, tmp_path, monkeypatch, way):
    use(monkeypatch, token=WORKERS)
    with serving(tmp_path, f"--token-file={tokens}") as secure:
        address = secure.unix if way == "unix" else secure.tcp
        with connect(address, shared_memory=way == "shared") as session:
            session.step({0: ROWS[0], 1: ROWS[1]})
            assert owner_of(session, secure) == "workers"
            session.delete()
    assert denials(secure) == []


def delete_by_command(address):
    done = subprocess.run(
        [CLI, "sessions", "delete", "heat-1", f"--server={address}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 4
    reason = done.stderr.removeprefix("concord sessions: ").partition(":")[0]
    raise PermissionDenied(done.stderr, reason=reason)


def attempts():
    return {
        "no token": (None, connect, UnauthenticatedError, "TOKEN_MISSING"),
        "wrong token": ("wrong-0123456789abcdef", connect, UnauthenticatedError, "TOKEN_UNKNOWN"),
        "another owner's session": (OTHERS, delete_by_command, PermissionDenied,
                                    "NOT_OWNER"),
        "another session": (WORKERS, lambda a: connect(a, name="wave"), PermissionDenied,
                            "RIGHT_MISSING"),
        "reading with the right to step": (WORKERS, lambda a: next(concord.watch(a, "heat-1")),
                                           PermissionDenied, "RIGHT_MISSING"),
        "stepping with the right to read": (READER, connect, PermissionDenied, "RIGHT_MISSING"),
    }  # fmt: skip


@pytest.mark.parametrize("attempt", attempts())
@pytest.mark.parametrize("shared_memory", [False, True])
def test_whoever_may_not_is_told_so_and_logged_once(
    tokens, tmp_path, monkeypatch, attempt, shared_memory
):
    token, action, error, reason = attempts()[attempt]
    with serving(tmp_path, f"--token-file={tokens}", shared_memory=shared_memory) as secure:
        use(monkeypatch, token=WORKERS)
        with connect(secure.tcp) as session:
            before = session.step({0: ROWS[0], 1: ROWS[1]}).update
            use(monkeypatch, token=token)
            with pytest.raises(error) as refused:
                action(secure.tcp)
            assert refused.value.reason == reason
            # It has changed nothing.
            use(monkeypatch, token=WORKERS)
            after = session.step({1: ROWS[1]}).update
    entries = denials(secure)
    assert [entry["reason"] for entry in entries] == [reason]
    assert entries[0]["caller"] == {WORKERS: "workers", OTHERS: "others", READER: "reader"}.get(
        token, ""
    )
    reference = concord.PseudoMomentumOperator(2, server="")
    assert torch.equal(before, reference.calculate_gradient([0, 1], ROWS))
    assert torch.equal(after, reference.calculate_gradient([1], ROWS[1:]))
    said = "".join(secure.log)
    for secret in (WORKERS, OTHERS, READER, ADMIN, token or "none at all"):
        assert secret not in said
        assert secret not in str(refused.value)


def test_tokens_are_replaced_while_a_session_steps(tokens, tmp_path, monkeypatch):
    use(monkeypatch, token=WORKERS)
    with serving(tmp_path, f"--token-file={tokens}") as secure, connect(secure.tcp) as session:
        session.step({0: ROWS[0], 1: ROWS[1]})
        changed = json.loads(json.dumps(TOKENS))
        changed["tokens"][0]["token"] = "workers-second-token"
        replacement = tmp_path / "replacement"
        replacement.write_text(json.dumps(changed))
        replacement.rename(tokens)
        until = time.monotonic() + 20
        while "tokens_reloaded" not in "".join(secure.log) and time.monotonic() < until:
            time.sleep(0.05)
        session.step({0: ROWS[0]})  # What is open stays open.
        with pytest.raises(UnauthenticatedError):
            connect(secure.tcp, name="heat-2")
        use(monkeypatch, token=None, token_file=tmp_path / "token")
        (tmp_path / "token").write_text("workers-second-token\n")
        with connect(secure.tcp, name="heat-2") as again:
            assert owner_of(again, secure) == "workers"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(TOKENS).replace(ADMIN, "too-short"),
        json.dumps(TOKENS)[:-2],
        json.dumps(TOKENS).replace('"token"', '"tokenn"'),
        json.dumps({ADMIN: []}),
    ],
    ids=["a short token", "half a file", "an unknown field", "a token for a field"],
)
def test_a_wrong_token_file_leaves_the_tokens_and_shows_none(tokens, tmp_path, monkeypatch, text):
    use(monkeypatch, token=WORKERS)
    replacement = tmp_path / "replacement"
    with serving(tmp_path, f"--token-file={tokens}") as secure:
        replacement.write_text(text)
        replacement.rename(tokens)
        until = time.monotonic() + 20
        while "tokens_not_reloaded" not in "".join(secure.log) and time.monotonic() < until:
            time.sleep(0.05)
        connect(secure.tcp).delete()
    entries = [json.loads(line) for line in secure.log if line.startswith("{")]
    assert [e["event"] for e in entries].count("tokens_not_reloaded") == 1
    for secret in (WORKERS, OTHERS, READER, ADMIN, "too-short"):
        assert secret not in "".join(secure.log)


def test_a_token_is_not_sent_where_it_could_be_read(monkeypatch):
    use(monkeypatch, token=WORKERS)
    with pytest.raises(InvalidArgumentError, match="could read the token") as refused:
        connect("concord.example.org:50051")
    assert refused.value.field == "tls"


def documented_refusals():
    """Reason -> status, of the table in docs/SECURITY.md."""
    text = (ROOT / "docs/SECURITY.md").read_text()
    table = text.split("| attempt | status | reason |\n")[1].split("\n\n")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]
    ]
    return {
        reason.strip("`"): status.partition("`, ")[0].strip("`")
        for _, status, reason in rows
        if reason
    }


def test_the_documented_table_is_what_is_tested():
    tested = {reason: error.code for _, _, error, reason in attempts().values()}
    documented = documented_refusals()
    assert documented.pop("INVALID_OPTION") == InvalidArgumentError.code  # Below.
    assert documented == tested


# ---- What a server does not begin with ----------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "neither encrypts nor asks who calls"),
        (["tokens"], "does not encrypt"),
        (["tls"], "does not ask who calls"),
    ],
)
def test_a_public_address_needs_tls_and_known_callers(ca, tokens, options, said):
    flags = []
    if "tls" in options:
        flags += tls(ca)
    if "tokens" in options:
        flags.append(f"--token-file={tokens}")
    ended = subprocess.run(
        [SERVER, "--listen=0.0.0.0:0", "--device=cpu", *flags],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert ended.returncode == 1
    lines = ended.stderr.splitlines()
    assert len([line for line in lines if said in line]) == 1
    assert "--allow-insecure-remote" in ended.stderr


def test_a_public_address_with_both_is_served(ca, tokens, tmp_path, monkeypatch):
    use(monkeypatch, tls_ca=ca / "ca.pem", token=WORKERS)
    with serving(tmp_path, *tls(ca), f"--token-file={tokens}", "--listen=0.0.0.0:0") as secure:
        connect(secure.tcp).delete()


def unequal_pair(ca):
    return [f"--tls-cert={ca}/server.pem", f"--tls-key={ca}/heat-worker.key"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (unequal_pair, "the key of tls_cert's certificate"),
        (lambda ca: tls(ca, "expired"), "valid now"),
        (lambda ca: [f"--tls-cert={ca}/server.key", f"--tls-key={ca}/server.key"], "in PEM form"),
        (lambda ca: [f"--tls-cert={ca}/server.pem"], "--tls-key"),
        (lambda ca: [*tls(ca), f"--tls-client-ca={ca}/server.key"], "in PEM form"),
        (lambda ca: [f"--token-file={ca}/server.key"], "token_file"),
        (lambda ca: [f"--token-file={ca}/nowhere"], "nowhere"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_at_the_start(ca, flags, said):
    ended = subprocess.run(
        [SERVER, "--listen=127.0.0.1:0", "--device=cpu", *flags(ca)],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert ended.returncode != 0
    assert said in ended.stderr
    assert "PRIVATE KEY" not in ended.stderr + ended.stdout
    assert Path(ca / "server.key").read_text().splitlines()[1] not in ended.stderr
