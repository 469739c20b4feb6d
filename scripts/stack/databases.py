"""PostgreSQL and Redis of a stack, as children of this process.

They listen on unix sockets in the stack's own folder, so that they cannot meet a PostgreSQL or a Redis that the
machine already runs.

PostgreSQL refuses to run as root. Started by root it therefore runs as the user `postgres`, which keeps one privilege
of root's: to pass folders that it may not enter. Without it a checkout below /root could not hold the data.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import process
from .layout import Layout, StackError
from .process import Child

START_TIMEOUT_SECONDS = 60.0
STOP_PATIENCE_SECONDS = 20.0

_DEBIAN_POSTGRES = Path("/usr/lib/postgresql")


class Databases:
    """Both databases of one stack."""

    def __init__(self, layout: Layout, stack: dict[str, Any], say: Callable[[str], None]) -> None:
        self._layout = layout
        self._stack = stack
        self._say = say
        self._postgres: Child | None = None
        self._redis: Child | None = None

    def start(self) -> None:
        """Starts both, makes what they lack, and returns when both answer."""
        binaries = _postgres_binaries()
        privileges = _postgres_privileges(self._layout)
        self._layout.clear_sockets()
        self._layout.make_socket_folder()
        if not (self._layout.postgres / "PG_VERSION").exists():
            self._say("making PostgreSQL's data folder")
            self._make_cluster(binaries, privileges)
        self._say("starting PostgreSQL")
        self._start_postgres(binaries, privileges)
        self._say("starting Redis")
        self._start_redis()

    def stop(self) -> None:
        """Stops both, Redis first, and removes their sockets."""
        for child in (self._redis, self._postgres):
            if child and child.running:
                self._say(f"stopping {child.name}")
                if not child.stop(STOP_PATIENCE_SECONDS):
                    self._say(f"{child.name} did not stop and was killed")
        self._layout.clear_sockets()

    def kill(self) -> None:
        """Ends both at once."""
        for child in (self._redis, self._postgres):
            if child:
                child.kill()
        self._layout.clear_sockets()

    def restart_redis(self) -> None:
        """Ends Redis at once, and starts it again."""
        if self._redis:
            self._redis.kill()
        self._start_redis()

    def processes(self) -> set[int]:
        """All their processes: PostgreSQL has one for each connection."""
        own = [child.popen.pid for child in (self._postgres, self._redis) if child]
        return {found for pid in own for found in (pid, *process.descendants(pid))}

    def check(self) -> None:
        """Fails if one of them has ended."""
        for child in (self._postgres, self._redis):
            if child and not child.running:
                raise child.failure()

    def _make_cluster(self, binaries: Path, privileges: list[str]) -> None:
        data = self._layout.postgres
        # What an interrupted attempt left behind would make initdb refuse.
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(mode=0o700)
        if privileges:
            shutil.chown(data, "postgres", "postgres")
        initdb = [
            str(binaries / "initdb"),
            f"--pgdata={data}",
            "--encoding=UTF8",
            # Synapse wants texts to be compared by their bytes.
            "--locale=C",
            # The folder of the socket is open to its owner alone.
            "--auth=trust",
            f"--username={self._stack['database']['user']}",
            "--no-sync",
        ]
        log = self._layout.log / "initdb.log"
        prefix = ["setpriv", *privileges] if privileges else []
        with log.open("wb") as output:
            code = subprocess.call([*prefix, *initdb], stdout=output, stderr=subprocess.STDOUT, cwd="/")
        if code != 0:
            shutil.rmtree(data, ignore_errors=True)
            raise StackError(f"PostgreSQL's data folder cannot be made:\n{process.tail(log)}")

    def _start_postgres(self, binaries: Path, privileges: list[str]) -> None:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._layout.sockets),
            "port": str(self._stack["database"]["port"]),
        }
        if self._stack["for_tests"]:
            # A test's data need not survive a loss of power.
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command = [str(binaries / "postgres"), "-D", str(self._layout.postgres)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        log = self._layout.log / "postgresql.log"
        # SIGTERM would wait for all clients to leave; SIGINT sends them away.
        self._postgres = process.start("PostgreSQL", command, log, signal.SIGINT, privileges)
        process.wait_until(self._postgres, lambda: self._sql(binaries, "select 1") is not None, START_TIMEOUT_SECONDS)
        name = self._stack["database"]["name"]
        if not self._sql(binaries, f"select 1 from pg_database where datname = '{name}'"):
            if self._sql(binaries, f"create database {name} template template0") is None:
                raise StackError(f"the database cannot be made:\n{process.tail(log)}")

    def _sql(self, binaries: Path, statement: str) -> str | None:
        """What a statement gives, or None if it fails."""
        database = self._stack["database"]
        command = [
            *(str(binaries / "psql"), "--no-psqlrc", "--tuples-only", "--no-align"),
            *("--host", database["socket_folder"], "--port", str(database["port"])),
            *("--username", database["user"], "--dbname", "postgres", "--command", statement),
        ]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", check=False
        )
        return done.stdout.decode() if done.returncode == 0 else None

    def _start_redis(self) -> None:
        server = _find("redis-server", "redis-server")
        log = self._layout.log / "redis.log"
        self._redis = process.start("Redis", [server, str(self._layout.redis_conf)], log)
        path = self._stack["redis"]["socket"]
        process.wait_until(self._redis, lambda: _redis_answers(path), START_TIMEOUT_SECONDS)


@contextmanager
def exclusively(layout: Layout) -> Iterator[None]:
    """Holds the stack's lock, so that no stack is run twice at once."""
    layout.dir.mkdir(parents=True, exist_ok=True)
    with layout.lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise StackError(f"the stack in {layout.dir} is running already (process {file.read().strip()})") from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.truncate(0)


def _redis_answers(path: str) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(path)
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _postgres_binaries() -> Path:
    """The folder of PostgreSQL's server programs, which Debian keeps off the PATH."""
    versions = [path for path in _DEBIAN_POSTGRES.glob("*/bin") if (path / "initdb").exists()]
    if versions:
        return max(versions, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0)
    return Path(_find("initdb", "postgresql")).parent


def _find(program: str, package: str) -> str:
    found = shutil.which(program)
    if not found:
        raise StackError(f"{program} is not installed (Debian's package: {package})")
    return found


def _postgres_privileges(layout: Layout) -> list[str]:
    """The arguments of setpriv for PostgreSQL: nothing for a normal user."""
    if os.geteuid() != 0:
        return []
    try:
        account = pwd.getpwnam("postgres")
    except KeyError as error:
        raise StackError("PostgreSQL does not run as root, and there is no user `postgres` to run it as") from error
    privileges = [
        *("--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups"),
        *("--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"),
    ]
    # Listing a folder that is open to root alone shows whether the privilege is really had (`test -r` asks without it).
    probe = ["setpriv", *privileges, "ls", str(layout.secrets)]
    if subprocess.call(probe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/") != 0:
        raise StackError(
            f"PostgreSQL does not run as root, and its user `postgres` cannot be let into {layout.dir} "
            "(the container withholds the capability DAC_OVERRIDE). Run this as a normal user instead."
        )
    return privileges
