"""Writes everything that a stack consists of, except for what its databases hold.

It can be called any number of times: secrets, ports and data are kept, and all configuration files are written anew.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import edge, secret, synapse
from .layout import Layout, Ports, StackError
from .shapes import SHAPES, Shape


@dataclass(frozen=True)
class Wishes:
    """What the caller may choose."""

    shape: str
    # Every process of Synapse is started with this Python.
    python: str
    # None: `localhost`, with the port of the TLS listener if there is one.
    server_name: str | None = None
    listen: list[str] = field(default_factory=lambda: ["127.0.0.1:0"])
    admin: str = "127.0.0.1:0"
    # The address of a TLS listener, used if there is a certificate.
    listen_tls: str = "127.0.0.1:0"
    certificate: edge.Certificate | None = None
    # The authority behind the other homeserver's certificate.
    federation_authority: Path | None = None
    # Whether dendron is to start Synapse.
    supervise: bool = True
    # Whether Redis is to listen on a TCP port beside its socket.
    redis_tcp: bool = False
    # How people log in.
    logins: synapse.Logins = synapse.Logins()
    # Settings of homeserver.yaml, in place of those that it would have.
    settings: dict[str, Any] = field(default_factory=dict)


def prepare(layout: Layout, wishes: Wishes) -> dict[str, Any]:
    """Writes the stack's files, and returns what `stack.json` then says."""
    known = layout.load()
    shape = SHAPES[wishes.shape]
    _make_folders(layout)
    secret.make_all(layout)
    ports = Ports(known.get("ports", {}))
    try:
        stack = _write_all(layout, wishes, shape, ports, known)
    finally:
        ports.release()
    temporary = layout.stack_json.with_suffix(".new")
    temporary.write_text(json.dumps(stack, indent=2) + "\n")
    os.replace(temporary, layout.stack_json)
    return stack


def _write_all(
    layout: Layout, wishes: Wishes, shape: Shape, ports: Ports, known: dict[str, Any]
) -> dict[str, Any]:
    listeners = _listeners(wishes, ports)
    admin = edge.choose("admin", wishes.admin, ports)
    server_name = _server_name(wishes, listeners, known)
    everywhere = synapse.places(shape, layout, ports)
    redis_port = ports.choose("redis") if wishes.redis_tcp else None

    federation = synapse.Federation(wishes.federation_authority.resolve()) if wishes.federation_authority else None
    # The last one is the TLS listener, if there is one; Synapse takes no socket's path here.
    public_baseurl = next(listener.url for listener in reversed(listeners) if listener.port) + "/"
    shared = synapse.homeserver(
        shape, layout, everywhere, server_name, public_baseurl, federation, wishes.logins, wishes.settings
    )
    synapse.write(layout.homeserver, shared)
    _write_processes(layout, everywhere)
    _write_redis(layout, redis_port)
    python = wishes.python if wishes.supervise else None
    synapse.write(layout.dendron, edge.settings(layout, listeners, admin, bool(shape.workers), python))

    return {
        "shape": wishes.shape,
        "server_name": server_name,
        "for_tests": shape.for_tests,
        "python": wishes.python,
        "dendron": {
            "config": str(layout.dendron),
            "client_url": listeners[0].url,
            "listeners": [
                {"address": listener.address, "url": listener.url, "tls": listener.certificate is not None}
                for listener in listeners
            ],
            "admin_url": admin.url,
            "log": str(layout.log / "dendron.log"),
        },
        "synapse": {
            "homeserver": str(layout.homeserver),
            "workers": [str(synapse.worker_path(layout, worker.name)) for worker in shape.workers],
            "registration_secret": str(secret.path_of(layout, "registration")),
            "replication_secret": str(secret.path_of(layout, "replication")),
            "processes": [_process(layout, place, wishes.python) for place in everywhere],
            "stream_writers": shape.stream_writers,
        },
        "database": {
            "socket_folder": str(layout.sockets),
            "port": synapse.DATABASE_PORT,
            "user": synapse.DATABASE_USER,
            "name": synapse.DATABASE_NAME,
        },
        "redis": {"socket": str(synapse.redis_socket(layout)), "port": redis_port},
        "ports": ports.chosen,
    }


def _make_folders(layout: Layout) -> None:
    for folder in (layout.workers, layout.log_config, layout.log, layout.media, layout.redis):
        folder.mkdir(exist_ok=True)


def _listeners(wishes: Wishes, ports: Ports) -> list[edge.Listener]:
    listeners = [edge.choose(f"listen{number}", wanted, ports) for number, wanted in enumerate(wishes.listen)]
    if wishes.certificate:
        listeners.append(edge.choose("listen_tls", wishes.listen_tls, ports, wishes.certificate))
    if not listeners:
        raise StackError("dendron needs a listener")
    return listeners


def _server_name(wishes: Wishes, listeners: list[edge.Listener], known: dict[str, Any]) -> str:
    """The homeserver's name, which users and rooms in the database bear: it cannot change any more."""
    tls = next((listener for listener in listeners if listener.certificate), None)
    wanted = wishes.server_name or (f"localhost:{tls.port}" if tls else "localhost")
    before = known.get("server_name", wanted)
    if before == wanted:
        return wanted
    if wishes.server_name:
        raise StackError(f"the stack is named {before} already, and Synapse cannot be renamed to {wanted}")
    raise StackError(f"the stack is named {before}, but that port has been taken: free it or begin a new stack")


def _write_processes(layout: Layout, everywhere: list[synapse.Place]) -> None:
    # The files of another shape must not stay: dendron and Synapse read whole folders.
    for stale in [*layout.workers.iterdir(), *layout.log_config.iterdir()]:
        stale.unlink()
    for place in everywhere:
        synapse.write(synapse.log_config_path(layout, place.name), synapse.log_config(layout, place.name))
    for place in everywhere[1:]:
        synapse.write(synapse.worker_path(layout, place.name), synapse.worker(layout, place))


def _write_redis(layout: Layout, port: int | None) -> None:
    lines = [
        "bind 127.0.0.1",
        f"port {port or 0}",
        f'unixsocket "{synapse.redis_socket(layout)}"',
        "unixsocketperm 700",
        f'dir "{layout.redis}"',
        # Nothing is kept: Synapse uses Redis to speak, not to remember.
        'save ""',
        "appendonly no",
    ]
    layout.redis_conf.write_text("\n".join(lines) + "\n")


def _process(layout: Layout, place: synapse.Place, python: str) -> dict[str, Any]:
    return {
        "name": place.name,
        "address": str(place.requests),
        "resources": list(place.process.resources),
        "replication": str(place.replication) if place.replication else None,
        "command": synapse.command(layout, place.name, python),
        "log": str(synapse.log_path(layout, place.name)),
    }
