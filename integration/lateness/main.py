#!/usr/bin/env python3
"""Proves that no message is late that a dendron with parked syncs hands on.

    main.py differential --stack FOLDER --dendron BINARY [--park] [--presence] [--sliding] [--only PLAY]

It talks to a running stack (`scripts/stack.py`), starts an edge of its own beside it, and ends with the line `N rows hold, after S s`
and exit code 0, or tells what does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import differential
from edge import Edge
from http_client import Failure
from stage import Stage


def main() -> int:
    """Reads the arguments, runs one mode, returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(required=True)
    mode = modes.add_parser("differential", help="every source, directly and through the edge")
    _add_common(mode)
    mode.add_argument("--presence", action="store_true", help="the stack has presence on")
    mode.add_argument("--sliding", action="store_true", help="simplified sliding sync")
    mode.add_argument("--only", default="", metavar="PLAY", help="plays whose name has this in it")
    mode.set_defaults(run=_differential)
    arguments = parser.parse_args()
    try:
        return asyncio.run(arguments.run(arguments))
    except Failure as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 1


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stack", required=True, type=Path, help="the folder of a running stack")
    parser.add_argument("--dendron", required=True, type=Path, help="dendron's binary")
    parser.add_argument("--park", action="store_true", help="the edge parks; else it forwards, which tests this program")
    parser.add_argument("--sync", type=json.loads, default={}, metavar="JSON", help="settings of `sync` at the edge")


async def _differential(arguments: argparse.Namespace) -> int:
    stack: dict[str, Any] = json.loads((arguments.stack / "stack.json").read_text())
    edge = Edge(arguments.dendron, arguments.stack / "lateness", stack)
    edge.configure(arguments.sync, {})
    await edge.start()
    stage = Stage(stack, edge.url)
    began = time.monotonic()
    try:
        rows = await differential.run(stage, arguments.park, arguments.presence, arguments.sliding, arguments.only)
    finally:
        await stage.close()
        await edge.close()
    print(differential.report(rows))
    faults = differential.faults(rows)
    if faults:
        raise Failure("\n".join(faults))
    print(f"{len(rows)} rows hold, after {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
