"""Proxies on unix sockets that stand between an edge and its databases, and do to it what networks do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

# How long a message takes, by its publisher (empty for what nobody has published).
Latency = Callable[[str], float]


class Proxy:
    """Relays bytes both ways, and can cut."""

    def __init__(self, upstream: Path, path: Path) -> None:
        self.path = path
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_cut = False

    async def start(self) -> None:
        """Listens."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def close(self) -> None:
        """Ends every connection, and listens no more."""
        self.cut()
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cuts every connection, and lets no new one through until `mend`."""
        self.is_cut = True
        for writer in self._open:
            writer.close()
        self._open.clear()

    def mend(self) -> None:
        """Lets connections through again."""
        self.is_cut = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.is_cut:
                raise ConnectionError("cut")
            own_reader, own_writer = await asyncio.open_unix_connection(self._upstream)
        except OSError:
            writer.close()
            return
        self._open |= {writer, own_writer}
        self._begin(self._asks(reader, own_writer))
        self._begin(self._tells(own_reader, writer))

    def _begin(self, relay: object) -> None:
        task = asyncio.create_task(_quietly(relay))  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _asks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the client to the server."""
        await self._copy(reader, writer)

    async def _tells(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the server to the client."""
        await self._copy(reader, writer)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        finally:
            self._end(writer)

    def _end(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.close()


class SlowProxy(Proxy):
    """A proxy before PostgreSQL by which every answer takes longer."""

    delay_seconds = 0.0

    async def _tells(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await asyncio.sleep(self.delay_seconds)
                writer.write(data)
                await writer.drain()
        finally:
            self._end(writer)


class RedisProxy(Proxy):
    """A proxy before Redis that delays what is published, by publisher, and loses some of it."""

    def __init__(self, upstream: Path, path: Path) -> None:
        super().__init__(upstream, path)
        self.latency: Latency | None = None
        # The text in the next message that is to be lost.
        self.lose = ""
        self.lost = 0

    async def _tells(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lanes: dict[str, Lane] = {}
        try:
            while True:
                message = await _message(reader)
                publisher = _publisher(message)
                if self.lose and self.lose.encode() in message and b"message" in message:
                    self.lose = ""
                    self.lost += 1
                    continue
                if publisher not in lanes:
                    lanes[publisher] = Lane(writer)
                    self._begin(lanes[publisher].run())
                lanes[publisher].add(message, self.latency(publisher) if self.latency else 0.0)
        finally:
            self._end(writer)


class PublishersProxy(Proxy):
    """A proxy before Redis by which those who publish are late, or silent."""

    def __init__(self, upstream: Path, path: Path) -> None:
        super().__init__(upstream, path)
        self.latency: Latency | None = None
        # Who publishes nothing any more, once it has a row: its connection says nothing from then on.
        self.silent: set[str] = set()
        # How many rows of events each of them wanted to publish.
        self.swallowed: Counter[str] = Counter()

    async def _asks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lane = Lane(writer)
        self._begin(lane.run())
        is_silent = False
        try:
            while True:
                message = await _message(reader)
                publisher = _publisher(message)
                is_silent = is_silent or (publisher in self.silent and b"\nRDATA " in message)
                if is_silent:
                    self.swallowed[publisher] += b"\nRDATA events " in message
                    continue
                lane.add(message, self.latency(publisher) if self.latency else 0.0)
        finally:
            self._end(writer)


class Lane:
    """What one publisher has said, in its order, and when it is due."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    def add(self, message: bytes, latency_seconds: float) -> None:
        """One more message, which is due after so long."""
        self._waiting.put_nowait((time.monotonic() + latency_seconds, message))

    async def run(self) -> None:
        """Hands on what is due, until the connection ends."""
        while True:
            due, message = await self._waiting.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._writer.write(message)
            await self._writer.drain()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One whole message of Redis's protocol (RESP): a line, a text of a length, or a list of these."""
    line = await reader.readline()
    if not line:
        raise ConnectionError("Redis has ended the connection")
    kind, rest = line[:1], line[1:].strip()
    if kind in (b"$", b"=") and int(rest) >= 0:
        return line + await reader.readexactly(int(rest) + 2)
    if kind in (b"*", b">", b"~"):
        return line + b"".join([await _message(reader) for _ in range(int(rest))])
    if kind == b"%":
        return line + b"".join([await _message(reader) for _ in range(2 * int(rest))])
    return line


def _publisher(message: bytes) -> str:
    """The process that published a line such as `RDATA events events1 5 […]`."""
    for name in (b"RDATA ", b"POSITION "):
        place = message.find(b"\n" + name)
        if place >= 0:
            words = message[place + 1 :].split(b" ", 3)
            return words[2].decode() if len(words) > 2 else ""
    return ""


async def _quietly(relay: object) -> None:
    """Connections end in every way here; whom that concerns sees it by itself."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await relay  # type: ignore[misc]
