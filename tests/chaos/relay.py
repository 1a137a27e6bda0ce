"""A relay between TCP clients and a server's Unix socket: cut, or long, connections."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Optional


class Relay:
    """Listens on a free port of 127.0.0.1; `address` is HOST:PORT.

    Args:
        target: Path of the server's socket.
        delay: Seconds that every byte takes, either way.
    """

    def __init__(self, target: str, delay: float = 0) -> None:
        self._target = target
        self._delay = delay
        self._loop = asyncio.new_event_loop()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._server: Optional[asyncio.Server] = None
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,))
        self._thread.start()
        started.wait()
        assert self._server is not None
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self, chance: random.Random) -> bool:
        """Resets one connection at once, whatever is under way; False: there is none."""

        async def reset() -> bool:
            if not self._pairs:
                return False
            for end in chance.choice(sorted(self._pairs, key=id)):
                end.transport.abort()
            return True

        return asyncio.run_coroutine_threadsafe(reset(), self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        listen = asyncio.start_server(self._relay, "127.0.0.1", 0)
        self._server = self._loop.run_until_complete(listen)
        started.set()
        self._loop.run_forever()
        self._server.close()
        for pair in self._pairs:
            for end in pair:
                end.transport.abort()
        ending = asyncio.gather(*asyncio.all_tasks(self._loop))
        self._loop.run_until_complete(ending)
        self._loop.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            above, below = await asyncio.open_unix_connection(self._target)
        except OSError:  # The server is down: so is this connection.
            writer.transport.abort()
            return
        pair = (writer, below)
        self._pairs.add(pair)
        await asyncio.gather(self._copy(reader, below), self._copy(above, writer))
        self._pairs.discard(pair)

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 18):
                if self._delay:
                    self._loop.call_later(self._delay, target.write, data)
                else:
                    target.write(data)
                    await target.drain()
        except OSError:
            pass  # Either end is gone, and with it the other.
        self._loop.call_later(self._delay, target.transport.abort)
