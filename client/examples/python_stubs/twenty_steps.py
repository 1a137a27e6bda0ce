"""A whole worker on the stubs that protoc generates, without the `concord` package.

    client/examples/build.sh python
    build/examples/python/twenty_steps HOST:PORT SESSION [PAUSE_MS]

Takes 20 steps of three losses and prints the SHA-256 of all updates, which is the same
from every language (docs/clients.md). PAUSE_MS: how long a "backward pass" takes.
"""

from __future__ import annotations

import hashlib
import queue
import random
import sys
import time
from collections.abc import Iterator

import grpc
import numpy as np
from concord.v1 import concord_pb2_grpc, operators_pb2, session_pb2, step_pb2

LOSSES, PARAMETERS, STEPS = 3, 300_007, 20
RETRIES = 100


def gradient(loss: int, step: int) -> bytes:
    """Numbers in [-1, 1) that float32 holds exactly: the same in every language."""
    element = np.arange(PARAMETERS, dtype=np.uint64)
    state = (element * 1103515245 + 12345 * (loss + 1) + step * 2654435761) % 2**32
    return (((state >> 16).astype(np.int64) - 32768) / 32768).astype("<f4").tobytes()


class Stream:
    """One Step stream: what was asked goes out, answers come in."""

    def __init__(self, stub: concord_pb2_grpc.ConcordStub) -> None:
        self._outgoing: queue.SimpleQueue = queue.SimpleQueue()
        self._answers: Iterator[step_pb2.StepResponse] = stub.Step(
            iter(self._outgoing.get, None)
        )

    def send(self, **message: object) -> None:
        self._outgoing.put(step_pb2.StepRequest(**message))

    def receive(self) -> step_pb2.StepResponse:
        return next(self._answers)

    def close(self) -> None:
        self._outgoing.put(None)


class Worker:
    """Rank 0 of a session. A step whose stream breaks is asked for again."""

    def __init__(self, stub: concord_pb2_grpc.ConcordStub, session: str) -> None:
        self._stub, self._session = stub, session
        # One for the life of the process: by it the server knows a retry.
        self._incarnation = random.randrange(1, 2**64)
        self._stream: Stream | None = None
        self._uid, self._applied = "", 0

    def _join(self) -> None:
        join = step_pb2.Join(
            session=self._session, incarnation=self._incarnation, uid=self._uid
        )
        if self._uid:
            join.resume_step = self._applied
        stream = Stream(self._stub)
        stream.send(join=join)
        joined = stream.receive().joined
        self._uid, self._epoch = joined.uid, joined.epoch
        self._chunk_bytes = min(joined.max_chunk_bytes, 1 << 20)
        self._stream = stream

    def step(self, gradients: dict[int, bytes]) -> bytes:
        for attempt in range(1, RETRIES + 1):
            try:
                if self._stream is None:
                    self._join()
                update = self._try(gradients, attempt)
            except grpc.RpcError as error:
                self._stream = None
                again = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED)
                if error.code() not in again or attempt == RETRIES:
                    raise
                time.sleep(0.1)
                continue
            self._applied += 1
            return update
        raise AssertionError("unreachable")

    def _try(self, gradients: dict[int, bytes], attempt: int) -> bytes:
        assert self._stream is not None
        vectors = [
            step_pb2.VectorHeader(
                index=loss, data_type=operators_pb2.FLOAT32, length=PARAMETERS
            )
            for loss in gradients
        ]
        self._stream.send(
            header=step_pb2.StepHeader(
                step=self._applied + 1,
                attempt=attempt,
                epoch=self._epoch,
                vectors=vectors,
            )
        )
        for position, data in enumerate(gradients.values()):
            for offset in range(0, len(data), self._chunk_bytes):
                part = data[offset : offset + self._chunk_bytes]
                chunk = step_pb2.VectorChunk(vector=position, offset=offset, data=part)
                self._stream.send(chunk=chunk)
        # Small updates come in one message, others in parts. Only with the
        # trailer is the update valid; its checksum (XXH3) is not looked at here.
        update = b""
        while True:
            answer = self._stream.receive()
            if answer.HasField("reply"):
                return answer.reply.data
            if answer.HasField("chunk"):
                update += answer.chunk.data
            if answer.HasField("trailer"):
                return update

    def leave(self) -> None:
        if self._stream is not None:
            self._stream.send(leave=step_pb2.Leave())
            self._stream.close()


def main() -> None:
    server, name = sys.argv[1:3]
    pause = float(sys.argv[3]) / 1e3 if len(sys.argv) > 3 else 0.0
    with grpc.insecure_channel(server) as channel:
        stub = concord_pb2_grpc.ConcordStub(channel)
        session = session_pb2.Session(num_vectors=LOSSES, num_parameters=PARAMETERS)
        request = session_pb2.CreateSessionRequest(session_id=name, session=session)
        worker = Worker(stub, stub.CreateSession(request).name)
        digest = hashlib.sha256()
        for step in range(1, STEPS + 1):
            losses = range(LOSSES) if step == 1 else [step % LOSSES]
            time.sleep(pause)
            digest.update(worker.step({loss: gradient(loss, step) for loss in losses}))
        worker.leave()
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
