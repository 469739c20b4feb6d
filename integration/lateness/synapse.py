"""Synapse's processes, which the stack's own dendron watches and starts again, and the stack's databases."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from http_client import Failure, Server, require

# All of them may be started at once, on a machine with two cores and other work.
RESTART_SECONDS = 240.0


class Processes:
    """What a stack runs, and how to disturb it."""

    def __init__(self, stack: dict[str, Any], folder: Path) -> None:
        self._folder = folder
        self._homeserver = Path(stack["synapse"]["homeserver"])
        self._settings = self._homeserver.read_text()
        self._admin = Server(stack["dendron"]["admin_url"])
        self.names: list[str] = [process["name"] for process in stack["synapse"]["processes"]]

    async def close(self) -> None:
        """Gives Synapse its own settings again; they count from its next start on."""
        self._homeserver.write_text(self._settings)
        await self._admin.close()

    def set(self, setting: str) -> None:
        """Adds a line to the settings, which counts from a process's next start on."""
        self._homeserver.write_text(f"{self._settings}{setting}\n")

    async def restart(self, names: list[str], how: signal.Signals = signal.SIGTERM) -> None:
        """Ends processes, and waits until others serve in their place."""
        before = {name: await self._process(name) for name in names}
        for name in names:
            self._signal(name, before[name]["pid"], how)
        deadline = time.monotonic() + RESTART_SECONDS
        for name in names:
            while not await self._is_again(name, before[name]["restarts"]):
                require(time.monotonic() < deadline, f"{name} was not there again within {RESTART_SECONDS:.0f} s")
                await asyncio.sleep(0.1)

    async def kill(self, name: str) -> None:
        """Ends a process with nothing done in its last moment."""
        self._signal(name, (await self._process(name))["pid"], signal.SIGKILL)

    async def until_ready(self, name: str, restarts: int) -> None:
        """Waits until a process that was killed is there again."""
        deadline = time.monotonic() + RESTART_SECONDS
        while not await self._is_again(name, restarts):
            require(time.monotonic() < deadline, f"{name} was not there again within {RESTART_SECONDS:.0f} s")
            await asyncio.sleep(0.1)

    async def restarts_of(self, name: str) -> int:
        """How often a process was started again."""
        restarts: int = (await self._process(name))["restarts"]
        return restarts

    def restart_redis(self) -> None:
        """Ends Redis, and starts it again."""
        owner = int((self._folder / "lock").read_text())
        self._require_own(owner, "stack.py")
        os.kill(owner, signal.SIGUSR1)

    async def _is_again(self, name: str, restarts: int) -> bool:
        process = await self._process(name)
        if process["state"] != "ready" or process["restarts"] <= restarts:
            return False
        status = await self._admin.call("GET", "/status")
        found = [known for pool in status["pools"] for known in pool["processes"] if known["name"] == name]
        return all(known["healthy"] for known in found)

    async def _process(self, name: str) -> dict[str, Any]:
        supervised = (await self._admin.call("GET", "/status"))["supervised"]
        found: dict[str, Any] | None = next((process for process in supervised if process["name"] == name), None)
        if found is None:
            raise Failure(f"no process is named {name}")
        return found

    def _signal(self, name: str, process: int, how: signal.Signals) -> None:
        self._require_own(process, "synapse.app.")
        os.kill(process, how)

    def _require_own(self, process: int, program: str) -> None:
        """Whatever anybody says, only this stack's processes are ever signalled."""
        command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        is_own = program in command and str(self._folder.resolve()) in command
        require(is_own, f"process {process} is none of this stack's: {command}")
