"""The running demonstration behind ``./dev run``: databases, dendron, and Synapse as dendron's own children.

Started in this order and stopped in the opposite one. Whatever way it ends, nothing is left running.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from . import call, process, secret
from .databases import Databases
from .layout import Layout, StackError
from .process import Child
from .shapes import MAIN

DEMO_USER = "demo"
# The first start makes Synapse's tables, and may have to share its processors.
READY_TIMEOUT_SECONDS = 300.0
# dendron gives each of Synapse's processes ten seconds to end.
DENDRON_PATIENCE_SECONDS = 60.0
LEFTOVER_PATIENCE_SECONDS = 10.0


def say(text: str) -> None:
    """One step of progress."""
    print(f"==> {text}", flush=True)


class Demonstration:
    """A stack with dendron before it."""

    def __init__(self, layout: Layout, stack: dict[str, Any], binary: Path) -> None:
        self._layout = layout
        self._stack = stack
        self._binary = binary
        self._databases = Databases(layout, stack, say)
        self._dendron: Child | None = None

    def run(self) -> None:
        """Starts everything, says how to use it, and returns only by an exception."""
        process.adopt_orphans()
        self._databases.start()
        dendron = self._start_dendron()
        self._wait_until_ready(dendron)
        self._introduce()
        while True:
            if not dendron.running:
                say("dendron has ended by itself")
                raise dendron.failure()
            self._databases.check()
            time.sleep(0.2)

    def stop(self) -> None:
        """Stops everything in order."""
        print(flush=True)
        if self._dendron and self._dendron.running:
            say("stopping dendron, which stops Synapse (Ctrl-C again: kill everything)")
            if not self._dendron.stop(DENDRON_PATIENCE_SECONDS):
                say("dendron did not stop and was killed")
        self._stop_leftovers()
        self._databases.stop()
        say("stopped; nothing is left running")

    def kill(self) -> None:
        """Ends everything at once."""
        say("killing everything")
        for pid in process.descendants(os.getpid()):
            _send(pid, signal.SIGKILL)
        self._databases.kill()

    def _start_dendron(self) -> Child:
        names = ", ".join(place["name"] for place in self._stack["synapse"]["processes"])
        say(f"starting dendron, which starts Synapse ({names})")
        command = [str(self._binary), "run", "--config", self._stack["dendron"]["config"]]
        log = Path(self._stack["dendron"]["log"])
        # A log of this run alone: its end is what is shown if something fails.
        log.unlink(missing_ok=True)
        self._dendron = process.start("dendron", command, log, signal.SIGINT)
        return self._dendron

    def _wait_until_ready(self, dendron: Child) -> None:
        """Waits for dendron's word that all is well, and says meanwhile which process of Synapse is up."""
        missing = {place["name"]: place["address"] for place in self._stack["synapse"]["processes"]}

        def is_ready() -> bool:
            for name, address in list(missing.items()):
                if call.answers_ok(address, "/health"):
                    say(f"Synapse's {name} is up")
                    del missing[name]
            return not missing and call.answers_ok(self._stack["dendron"]["admin_url"], "/ready")

        process.wait_until(dendron, is_ready, READY_TIMEOUT_SECONDS)

    def _introduce(self) -> None:
        # Short enough to be typed.
        password = secret.text(self._layout, "demo-password", length_bytes=9)
        main = next(place for place in self._stack["synapse"]["processes"] if place["name"] == MAIN)
        registration = Path(self._stack["synapse"]["registration_secret"]).read_text().strip()
        call.register(main["address"], registration, DEMO_USER, password)
        print(introduction(self._stack, password), flush=True)

    def _stop_leftovers(self) -> None:
        """Ends what a dendron that died could not stop any more."""
        leftovers = self._leftovers()
        if not leftovers:
            return
        say(f"stopping {len(leftovers)} processes that dendron left")
        deadline = time.monotonic() + LEFTOVER_PATIENCE_SECONDS
        for pid in leftovers:
            _send(pid, signal.SIGTERM)
        while (leftovers := self._leftovers()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in leftovers:
            say(f"killing {pid}: {process.command_of(pid)}")
            _send(pid, signal.SIGKILL)

    def _leftovers(self) -> list[int]:
        """Everything below this process but the databases."""
        kept = self._databases.processes()
        return [pid for pid in process.descendants(os.getpid()) if pid not in kept]


def introduction(stack: dict[str, Any], password: str) -> str:
    """What the user sees when all is up."""
    url = stack["dendron"]["client_url"]
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": DEMO_USER},
        "password": password,
    }
    return f"""
dendron is ready, and Synapse {stack["server_name"]} behind it.

    clients     {url}
    status      {stack["dendron"]["admin_url"]}/status
    user        @{DEMO_USER}:{stack["server_name"]}
    password    {password}
    logs        {Path(stack["dendron"]["log"]).parent}

Try a login:

    curl -s {url}/_matrix/client/v3/login -d '{json.dumps(login)}'

Ctrl-C stops everything.
"""


def check_binary(binary: Path) -> None:
    """Fails if dendron has not been built."""
    if not os.access(binary, os.X_OK):
        raise StackError(f"{binary} cannot be run: build it first (cargo build --release)")


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
