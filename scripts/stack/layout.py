"""Where the parts of a stack lie, on which ports they listen, and ``stack.json``, which remembers both.

A port is chosen once and then kept, so that a stack keeps its addresses when it is started again. A port that
somebody else has taken meanwhile is chosen anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The longest path that a unix socket can be bound to (`sun_path`, less its terminating zero).
LONGEST_SOCKET_PATH = 107
# Room for the longest name of a socket in a stack: `federation_reader1-replication.sock`.
LONGEST_SOCKET_NAME = 40


class StackError(Exception):
    """Something the user can understand and mend. It is shown without a traceback."""


@dataclass(frozen=True)
class Layout:
    """The paths below a stack's folder."""

    dir: Path

    @classmethod
    def of(cls, folder: str | Path) -> Layout:
        """The layout of a folder, which need not exist yet."""
        return cls(Path(folder).resolve())

    @property
    def stack_json(self) -> Path:
        """What is known of the stack: see ``prepare``."""
        return self.dir / "stack.json"

    @property
    def lock(self) -> Path:
        """Held by whoever runs the stack's databases."""
        return self.dir / "lock"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data folder."""
        return self.dir / "postgres"

    @property
    def redis(self) -> Path:
        """The folder in which Redis runs."""
        return self.dir / "redis"

    @property
    def redis_conf(self) -> Path:
        """The configuration of Redis."""
        return self.dir / "redis.conf"

    @property
    def homeserver(self) -> Path:
        """The configuration that all of Synapse's processes share."""
        return self.dir / "homeserver.yaml"

    @property
    def workers(self) -> Path:
        """The folder of the workers' own configuration files."""
        return self.dir / "workers"

    @property
    def log_config(self) -> Path:
        """The folder of Synapse's logging configurations, one for each process."""
        return self.dir / "log-config"

    @property
    def log(self) -> Path:
        """The folder of all logs."""
        return self.dir / "log"

    @property
    def media(self) -> Path:
        """Synapse's media store."""
        return self.dir / "media"

    @property
    def secrets(self) -> Path:
        """The folder of keys and passwords, readable by its owner alone."""
        return self.dir / "secrets"

    @property
    def dendron(self) -> Path:
        """The configuration of dendron."""
        return self.dir / "dendron.yaml"

    @property
    def sockets(self) -> Path:
        """The folder of the unix sockets: a short one elsewhere when the stack's own is too deep for them."""
        own = self.dir / "run"
        if len(os.fsencode(own)) + 1 + LONGEST_SOCKET_NAME <= LONGEST_SOCKET_PATH:
            return own
        name = hashlib.sha256(os.fsencode(self.dir)).hexdigest()[:12]
        return Path(f"/tmp/dendron-{os.getuid()}-{name}")

    def make_socket_folder(self) -> None:
        """Makes the folder of the sockets, and refuses one that somebody else has put in its place."""
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        found = os.lstat(self.sockets)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise StackError(f"{self.sockets} is needed for sockets, but it belongs to somebody else")

    def clear_sockets(self) -> None:
        """Removes the folder of the sockets, with what stopped processes left there."""
        if self.sockets.is_dir():
            shutil.rmtree(self.sockets)

    def load(self) -> dict[str, Any]:
        """What ``stack.json`` says, or nothing if the stack is new."""
        try:
            return json.loads(self.stack_json.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise StackError(f"{self.stack_json} is damaged ({error}): remove it to begin anew") from error

    def load_prepared(self) -> dict[str, Any]:
        """What ``stack.json`` says of a stack that must exist."""
        stack = self.load()
        if not stack:
            raise StackError(f"there is no stack in {self.dir}: run `prepare` first")
        return stack


class Ports:
    """Hands out free ports on loopback, the same ones as last time where that is possible.

    All sockets stay bound until ``release``, so that no port is handed out twice.
    """

    def __init__(self, known: dict[str, int]) -> None:
        self._known = known
        self._held: list[socket.socket] = []
        self.chosen: dict[str, int] = {}

    def choose(self, name: str, host: str = "127.0.0.1", preferred: int = 0) -> int:
        """The port kept under this name, else the preferred one, else any free one."""
        for candidate in (self._known.get(name, 0), preferred):
            if candidate and self._hold(host, candidate):
                break
        else:
            self._hold(host, 0)
        self.chosen[name] = self._held[-1].getsockname()[1]
        return self.chosen[name]

    def release(self) -> None:
        """Frees the ports for the processes that are to listen on them."""
        for held in self._held:
            held.close()
        self._held.clear()

    def _hold(self, host: str, port: int) -> bool:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        attempt = socket.socket(family, socket.SOCK_STREAM)
        # Connections of an earlier run that still linger do not count as taken.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError:
            attempt.close()
            if port == 0:
                raise
            return False
        self._held.append(attempt)
        return True
