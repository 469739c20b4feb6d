"""Builds and runs real stacks (PostgreSQL, Redis, Synapse) for dendron: see ``scripts/stack/`` for its parts.

    stack.py prepare --dir DIR --shape monolith|monolith-unix|demo|workers|sharded [...]
    stack.py databases --dir DIR
    stack.py run --dir DIR --dendron BINARY

It needs Synapse's own Python, `.dev/venv/bin/python`, which `scripts/install.sh` makes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from stack import edge, synapse
from stack.databases import Databases, exclusively
from stack.layout import Layout, StackError
from stack.prepare import Wishes, prepare
from stack.process import stopping_in_order
from stack.run import Demonstration, check_binary
from stack.shapes import SHAPES


def main() -> int:
    """Runs one command and returns its exit code."""
    arguments = _parser().parse_args()
    try:
        return arguments.function(arguments)
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"stack: {error} (was the stack made by another user?)", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # Before anything was started; afterwards signals are handled by `stopping_in_order`.
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("prepare", help="write a stack's configuration")
    _add_dir(command)
    command.add_argument("--shape", required=True, choices=sorted(SHAPES))
    command.add_argument("--server-name", help="default: localhost, with the TLS listener's port if there is one")
    command.add_argument(
        "--listen",
        action="append",
        metavar="ADDRESS",
        help="HOST:PORT (port 0: a free one, the same next time) or unix:PATH; may be repeated",
    )
    command.add_argument("--admin", default="127.0.0.1:0", metavar="ADDRESS")
    command.add_argument("--tls-certificate", type=Path, help="with --tls-key: a TLS listener as well")
    command.add_argument("--tls-key", type=Path)
    command.add_argument("--listen-tls", default="127.0.0.1:0", metavar="ADDRESS")
    command.add_argument("--federation-ca", type=Path, help="the authority that signed the other server's certificate")
    command.add_argument("--no-supervise", action="store_true", help="dendron is not to start Synapse")
    command.add_argument("--redis-tcp", action="store_true", help="Redis listens on a TCP port too")
    command.add_argument("--limited-logins", action="store_true", help="Synapse's own limits of logins, if for tests")
    command.add_argument("--jwt", action="store_true", help="signed tokens log in as well: needs authlib")
    command.add_argument(
        "--settings", type=json.loads, default={}, metavar="JSON", help="settings that count before the stack's own"
    )
    command.set_defaults(function=_prepare)

    command = commands.add_parser("databases", help="run PostgreSQL and Redis until stopped")
    _add_dir(command)
    command.set_defaults(function=_databases)

    command = commands.add_parser("run", help="run a stack with dendron before it until stopped")
    _add_dir(command)
    command.add_argument("--dendron", required=True, type=Path, help="dendron's binary")
    command.add_argument("--shape", default="demo", choices=sorted(SHAPES))
    command.set_defaults(function=_run)
    return parser


def _add_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dir", required=True, type=Path, help="the stack's folder")


def _prepare(arguments: argparse.Namespace) -> int:
    if bool(arguments.tls_certificate) != bool(arguments.tls_key):
        raise StackError("--tls-certificate and --tls-key belong together")
    certificate = None
    if arguments.tls_certificate:
        certificate = edge.Certificate(arguments.tls_certificate.resolve(), arguments.tls_key.resolve())
    wishes = Wishes(
        shape=arguments.shape,
        python=sys.executable,
        server_name=arguments.server_name,
        listen=arguments.listen or ["127.0.0.1:0"],
        admin=arguments.admin,
        listen_tls=arguments.listen_tls,
        certificate=certificate,
        federation_authority=arguments.federation_ca,
        supervise=not arguments.no_supervise,
        redis_tcp=arguments.redis_tcp,
        logins=synapse.Logins(limited=arguments.limited_logins, jwt=arguments.jwt),
        settings=arguments.settings,
    )
    layout = Layout.of(arguments.dir)
    # Not while the stack is running: its own ports would seem to be taken, and would be chosen anew.
    with exclusively(layout):
        prepare(layout, wishes)
    print(layout.stack_json)
    return 0


def _databases(arguments: argparse.Namespace) -> int:
    layout = Layout.of(arguments.dir)
    databases = Databases(layout, layout.load_prepared(), _say_aside)
    parent = os.getppid()
    with exclusively(layout), stopping_in_order(databases.stop, databases.kill):
        databases.start()
        # Tests restart Redis below a running Synapse.
        signal.signal(signal.SIGUSR1, lambda *_: databases.restart_redis())
        print("ready", flush=True)
        # A caller that has died cannot say so: its children get another parent.
        while os.getppid() == parent:
            databases.check()
            time.sleep(0.2)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    check_binary(arguments.dendron)
    layout = Layout.of(arguments.dir)
    wishes = Wishes(
        shape=arguments.shape, python=sys.executable, listen=["127.0.0.1:8008?"], admin="127.0.0.1:9180?"
    )
    with exclusively(layout):
        demonstration = Demonstration(layout, prepare(layout, wishes), arguments.dendron.resolve())
        with stopping_in_order(demonstration.stop, demonstration.kill):
            demonstration.run()
    return 0


def _say_aside(text: str) -> None:
    print(f"==> {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
