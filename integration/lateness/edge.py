"""A dendron beside a stack's own, which may be stopped and started again while everything else goes on."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

from http_client import Failure, Server

START_SECONDS = 20.0
STOP_SECONDS = 20.0
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


class Edge:
    """A dendron with a homeserver.yaml of its own: the stack's, and what stands in place of it."""

    def __init__(self, binary: Path, folder: Path, stack: dict[str, Any]) -> None:
        self.folder = folder.resolve()
        self._binary = binary
        self._stack = stack
        self._process: asyncio.subprocess.Process | None = None
        self._address = f"127.0.0.1:{free_port()}"
        self._admin = Server(f"http://127.0.0.1:{free_port()}")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self._address}"

    def configure(self, sync: dict[str, Any], homeserver: dict[str, Any]) -> None:
        """Writes its files. JSON is YAML, too."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "changes.yaml").write_text(json.dumps(homeserver))
        synapse: dict[str, Any] = {
            "config": [self._stack["synapse"]["homeserver"], *(["changes.yaml"] if homeserver else [])]
        }
        if self._stack["synapse"]["workers"]:
            synapse["workers"] = [str(Path(self._stack["synapse"]["workers"][0]).parent)]
        settings = {
            "listeners": [{"address": self._address}],
            "admin": {"address": self._admin.address.removeprefix("http://")},
            "synapse": synapse,
            "log": {"access": str(self.folder / "access.log"), "format": "json"},
            # Who is trusted is told how a sync was answered.
            "trusted_proxies": ["127.0.0.1"],
        }
        if sync:
            settings["sync"] = sync
        (self.folder / "dendron.yaml").write_text(json.dumps(settings, indent=2))

    async def start(self) -> None:
        """Starts it, and waits until it serves."""
        with (self.folder / "dendron.out").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                # It ends with this program, whatever becomes of that.
                *("setpriv", "--pdeathsig", "TERM", str(self._binary)),
                *("run", "--config", str(self.folder / "dendron.yaml")),
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_SECONDS
        while not await self._is_ready():
            if self._process.returncode is not None or time.monotonic() > deadline:
                said = (self.folder / "dendron.out").read_text()[-3000:]
                raise Failure(f"the edge does not serve (exit code {self._process.returncode}); it said:\n{said}")
            await asyncio.sleep(0.05)

    async def until_live(self) -> None:
        """Waits until it follows what Synapse publishes, and parks."""
        deadline = time.monotonic() + START_SECONDS
        while (syncs := (await self.status())["syncs"]).get("gate") != "live":
            if time.monotonic() > deadline:
                raise Failure(f"the edge does not park: {syncs}")
            await asyncio.sleep(0.1)

    async def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stops it."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(how)
            try:
                await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
            except asyncio.TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._process = None

    async def close(self) -> None:
        """Stops it for good."""
        await self.stop()
        await self._admin.close()

    async def status(self) -> Any:
        """What `/status` says."""
        return await self._admin.call("GET", "/status")

    async def metrics(self) -> Metrics:
        """What it counts."""
        answer = await self._admin.send("GET", "/metrics")
        return Metrics(answer.body.decode())

    async def _is_ready(self) -> bool:
        try:
            return (await self._admin.send("GET", "/ready")).status == 200
        except Exception:  # Whatever goes wrong, it is not ready yet.
            return False


class Metrics:
    """One scrape in Prometheus's text format."""

    def __init__(self, text: str) -> None:
        found = [match for line in text.splitlines() if (match := _SAMPLE.match(line))]
        self._samples = [(name, _labels(labels or ""), float(value)) for name, labels, value in map(_groups, found)]

    def sum(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels, among others."""
        return sum(self._matching(name, labels, lambda _, value: value))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The sums for each value of a label."""
        sums: dict[str, float] = {}
        for key, value in self._matching(name, labels, lambda own, value: (own.get(label, ""), value)):
            sums[key] = sums.get(key, 0.0) + value
        return sums

    def _matching(self, name: str, labels: dict[str, str], give: Any) -> list[Any]:
        return [
            give(own, value)
            for known, own, value in self._samples
            if known == name and all(own.get(label) == wanted for label, wanted in labels.items())
        ]


def _groups(match: re.Match[str]) -> tuple[str, str, str]:
    return match.group(1), match.group(2), match.group(3)


def _labels(text: str) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', text))


def free_port() -> int:
    """A port of loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
