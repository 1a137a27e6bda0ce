"""The same bits: embedded, TCP, Unix socket, chunk sizes, thread counts."""

import os
import subprocess
import sys

import pytest
import torch

import concord
from concord.momentum_operator import PseudoMomentumOperator

M = 3


def sequence(n, dtype, steps=6):
    generator = torch.Generator().manual_seed(n)
    for step in range(steps):
        k = step % M + 1
        grads = torch.randn(k, n, dtype=torch.float64, generator=generator).to(dtype)
        yield torch.randperm(M, generator=generator)[:k].tolist(), grads


def updates(operator, n, dtype):
    return [operator.calculate_gradient(i, g) for i, g in sequence(n, dtype)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 7, 1000, 10_401, 300_001])
def test_embedded_tcp_and_unix_socket_give_the_same_bits(n, dtype, server):
    expected = updates(PseudoMomentumOperator(M), n, dtype)
    for address in (server.tcp, server.unix):
        with PseudoMomentumOperator(M, server=address) as operator:
            for found, right in zip(updates(operator, n, dtype), expected):
                assert torch.equal(found, right)


@pytest.mark.parametrize("chunk", [1024, 4097, 99_999, 4 << 20])
def test_chunk_sizes_give_the_same_bits(chunk, server):
    n = 70_003
    embedded = PseudoMomentumOperator(M)
    session = concord.Session(server.tcp, num_vectors=M, chunk_bytes=chunk)
    for indexes, grads in sequence(n, torch.float32):
        found = session.step((indexes, grads)).update
        assert torch.equal(found, embedded.calculate_gradient(indexes, grads))
    session.delete()


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_numbers_of_threads_give_the_same_bits(threads, tmp_path):
    script = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from test_bitwise import updates
from concord import _process
from concord.momentum_operator import PseudoMomentumOperator
found = updates(PseudoMomentumOperator(3), 1_000_003, torch.float32)
assert _process.kernels(torch.device("cpu")).threads == int(sys.argv[3])
torch.save(found[-1].clone(), sys.argv[2])
"""
    out = tmp_path / "update.pt"
    command = [sys.executable, "-c", script, os.path.dirname(__file__), str(out), str(threads)]
    environment = {**os.environ, "CONCORD_THREADS": str(threads)}
    subprocess.run(command, env=environment, check=True, timeout=120)
    expected = updates(PseudoMomentumOperator(M), 1_000_003, torch.float32)[-1]
    assert torch.equal(torch.load(out), expected)


@pytest.mark.parametrize("form", ["one by one in a list", "stacked", "single index"])
def test_the_form_of_a_call_does_not_change_a_bit(form):
    n = 5000
    first, second = PseudoMomentumOperator(M), PseudoMomentumOperator(M)
    for step in range(6):
        g = torch.randn(n, generator=torch.Generator().manual_seed(step))
        expected = first.calculate_gradient(step % M, g)
        given = {
            "one by one in a list": ([step % M], [g]),
            "stacked": ([step % M], g[None]),
            "single index": (torch.tensor(step % M), g.numpy()),
        }[form]
        assert torch.equal(second.calculate_gradient(*given), expected)
