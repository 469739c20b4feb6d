#!/usr/bin/env python3
"""Proves that no message is late that a dendron with parked syncs hands on.

    main.py differential --stack FOLDER --dendron BINARY [--no-park] [--presence] [--sliding]
                         [--other FOLDER] [--only PLAY]
    main.py faults --stack FOLDER --dendron BINARY [--long] [--only FAULT]
    main.py soak --stack FOLDER --dendron BINARY [--watchers N] [--replays N] [--seconds S] [--report FILE]

It talks to a running stack (`scripts/stack.py`) and starts an edge of its own beside it. With another stack, which must
federate with the first, what comes from there is played, and only that. It ends with a line of what
holds and exit code 0, or tells what does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import completeness
import differential
import faults
import soak
from edge import Edge
from http_client import Failure, require
from proxies import PublishersProxy, RedisProxy, SlowProxy
from stage import Stage
from synapse import Processes
from world import RENEW_SECONDS, World


def main() -> int:
    """Reads the arguments, runs one mode, returns the exit code."""
    arguments = _parser().parse_args()
    arguments.stack = arguments.stack.resolve()
    code = 0
    try:
        asyncio.run(arguments.run(arguments))
    except* Failure as failures:
        for failure in failures.exceptions:
            print(f"failed: {failure}", file=sys.stderr)
        code = 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(required=True)

    mode = _mode(modes, "differential", "every source, directly and through the edge", _differential)
    mode.add_argument("--no-park", action="store_true", help="the edge forwards all: it is this program that is tested")
    mode.add_argument("--presence", action="store_true", help="the stack has presence on")
    mode.add_argument("--sliding", action="store_true", help="simplified sliding sync")
    mode.add_argument("--other", type=Path, metavar="FOLDER", help="a running stack that federates with the first")
    mode.add_argument("--only", default="", metavar="PLAY", help="plays whose name has this in it")

    mode = _mode(modes, "faults", "what goes wrong on the way", _faults)
    mode.add_argument("--long", action="store_true", help="every fault, on every stream")
    mode.add_argument("--only", default="", metavar="FAULT", help="faults whose name has this in it")

    mode = _mode(modes, "soak", "each answer that is given again is checked", _soak)
    mode.add_argument("--watchers", type=int, default=60)
    mode.add_argument("--replays", type=int, default=100_000, help="how many answers are checked")
    mode.add_argument("--seconds", type=float, default=float("inf"), help="how long it may take")
    mode.add_argument("--report", type=Path, metavar="FILE")
    return parser


def _mode(modes: Any, name: str, description: str, run: Any) -> argparse.ArgumentParser:
    mode: argparse.ArgumentParser = modes.add_parser(name, help=description)
    mode.add_argument("--stack", required=True, type=Path, help="the folder of a running stack")
    mode.add_argument("--dendron", required=True, type=Path, help="dendron's binary")
    mode.set_defaults(run=run)
    return mode


@asynccontextmanager
async def _stage(
    arguments: argparse.Namespace, sync: dict[str, Any], homeserver: dict[str, Any], other: Path | None = None
) -> AsyncIterator[tuple[Stage, Edge]]:
    """A stack and an edge beside it, until the end of the body."""
    stack = _stack(arguments.stack)
    edge = Edge(arguments.dendron, arguments.stack / "lateness", stack)
    edge.configure(sync, homeserver)
    stage = Stage(stack, edge.url, _stack(other) if other else None)
    try:
        await edge.start()
        if sync:
            await edge.until_live()
        yield stage, edge
    finally:
        await stage.close()
        await edge.close()


def _stack(folder: Path) -> dict[str, Any]:
    """What a stack says of itself."""
    stack: dict[str, Any] = json.loads((folder / "stack.json").read_text())
    return stack


async def _differential(arguments: argparse.Namespace) -> None:
    parks = not arguments.no_park
    async with _stage(arguments, {"park": "on"} if parks else {}, {}, arguments.other) as (stage, edge):
        began, before = time.monotonic(), await completeness.woken_by_synapse(stage.direct)
        rows = await differential.run(stage, parks, arguments.presence, arguments.sliding, arguments.only)
        seconds, after = time.monotonic() - began, await completeness.woken_by_synapse(stage.direct)
        metrics = await edge.metrics()
    print(differential.report(rows))
    _hold(differential.faults(rows))
    if parks and not arguments.only:
        expected = completeness.FROM_ELSEWHERE if arguments.other else completeness.EXPECTED
        untold = completeness.UNTOLD_BY_SLIDING if arguments.sliding else set()
        _hold(completeness.faults(before, after, metrics, expected, untold))
    _hold(completeness.doubts(metrics))
    print(f"{len(rows)} rows hold, after {seconds:.0f} s")


async def _faults(arguments: argparse.Namespace) -> None:
    stack = _stack(arguments.stack)
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisProxy(Path(stack["redis"]["socket"]), Path(folder) / "redis.sock")
        publishers = PublishersProxy(Path(stack["redis"]["socket"]), Path(folder) / "publishers.sock")
        database = SlowProxy(*_database_sockets(stack, Path(folder)))
        for proxy in (redis, publishers, database):
            await proxy.start()
        homeserver = {
            "redis": {"enabled": True, "path": str(redis.path)},
            "database": {"name": "psycopg2", "args": _database_arguments(stack, folder)},
        }
        processes = Processes(stack, arguments.stack)
        try:
            renew = f"{RENEW_SECONDS:.0f}s"
            async with _stage(arguments, {"park": "on", "renew_after": renew}, homeserver) as (stage, edge):
                world = World(stage, edge, redis, database, publishers, processes, arguments.long)
                await faults.run(world, arguments.only)
        finally:
            await processes.close()
            for proxy in (redis, publishers, database):
                await proxy.close()
    print(differential.report(world.rows))
    _hold([f"{row.scene}: {row.source} ({row.account}): {fault}" for row in world.rows for fault in row.faults])
    _hold(differential.told_alone(world.rows))
    _hold(world.late)
    judged = [row for row in world.rows if row.items]
    parked = [row for row in judged if row.parked]
    require(len(parked) * 5 >= len(judged) * 4 > 0, f"the edge held only {len(parked)} polls of {len(judged)}")
    print(f"{len(world.rows)} rows hold")


def _database_sockets(stack: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """PostgreSQL's socket, and the proxy's: the port is a part of the name."""
    name = f".s.PGSQL.{stack['database']['port']}"
    return Path(stack["database"]["socket_folder"]) / name, folder / name


def _database_arguments(stack: dict[str, Any], folder: str) -> dict[str, Any]:
    database = stack["database"]
    return {"host": folder, "port": database["port"], "user": database["user"], "dbname": database["name"]}


async def _soak(arguments: argparse.Namespace) -> None:
    async with _stage(arguments, {"park": "on", "renew_after": f"{soak.RENEW_SECONDS:.0f}s"}, {}) as (stage, edge):
        server = (await stage.direct[0].send("GET", "/_matrix/client/versions")).header("server")
        origin = _origin(arguments, server, len(stage.stack["synapse"]["processes"]))
        tally = await soak.run(stage, arguments.watchers, arguments.replays, arguments.seconds)
        metrics = await edge.metrics()
    origin.append(f"machine: {os.cpu_count()} cores, with a load of {os.getloadavg()[2]:.1f} in the last 15 minutes")
    text = soak.report(tally, arguments.watchers, metrics, origin)
    print(text)
    if arguments.report:
        arguments.report.parent.mkdir(parents=True, exist_ok=True)
        arguments.report.write_text(text)
    _hold(tally.missed)
    # Most of the polls of a device at rest must be given again, or nothing was tested.
    require(tally.replays > tally.answers / 4, f"only {tally.replays} of {tally.answers} answers were given again")
    print(f"{tally.replays} replays hold")


def _origin(arguments: argparse.Namespace, synapse: str, processes: int) -> list[str]:
    """What is tested, when, and how."""
    commit = ["git", "-C", str(Path(__file__).parents[2]), "describe", "--always", "--dirty"]
    return [
        f"begun: {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC",
        f"command: `{shlex.join(['./dev', 'quiet-soak', str(arguments.replays)])}`",
        f"dendron: `{_said([str(arguments.dendron), '--version'])}`, commit `{_said(commit)}`",
        f"Synapse: `{synapse}`, {processes} processes",
    ]


def _said(command: list[str]) -> str:
    """What a program says; nothing where there is none, or it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _hold(faults: list[str]) -> None:
    if faults:
        raise Failure("\n".join(faults))


if __name__ == "__main__":
    sys.exit(main())
