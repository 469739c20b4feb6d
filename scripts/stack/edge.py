"""dendron's configuration for a stack: its listeners, and where Synapse's own files are. The rest it derives itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .layout import Layout, Ports, StackError


@dataclass(frozen=True)
class Certificate:
    """The files of a TLS certificate."""

    chain: Path
    key: Path


@dataclass(frozen=True)
class Listener:
    """One address on which dendron listens for requests."""

    address: str
    certificate: Certificate | None = None

    @property
    def port(self) -> int | None:
        """The port, unless it is a unix socket."""
        return None if self.address.startswith("unix:") else int(self.address.rpartition(":")[2])

    @property
    def url(self) -> str:
        """The URL that a client on this machine uses."""
        if self.address.startswith("unix:"):
            return self.address
        # A certificate is for a name, not for an address.
        return f"https://localhost:{self.port}" if self.certificate else f"http://{self.address}"

    def settings(self) -> dict[str, Any]:
        """The listener in dendron.yaml."""
        found: dict[str, Any] = {"address": self.address}
        if self.certificate:
            found["tls"] = {"certificate": str(self.certificate.chain), "key": str(self.certificate.key)}
        return found


def choose(name: str, wanted: str, ports: Ports, certificate: Certificate | None = None) -> Listener:
    """The listener for an address that was asked for.

    Port 0 means: any free port, and the same one next time. `8008?` means: 8008 if it is free.
    """
    if wanted.startswith("unix:"):
        return Listener(wanted, certificate)
    host, colon, port = wanted.rpartition(":")
    number = port.removesuffix("?")
    if not colon or not number.isdigit():
        raise StackError(f"{wanted}: an address is HOST:PORT or unix:PATH")
    if number == port and number != "0":
        return Listener(wanted, certificate)
    chosen = ports.choose(name, host.strip("[]"), int(number))
    return Listener(f"{host}:{chosen}", certificate)


def settings(
    layout: Layout,
    listeners: list[Listener],
    admin: Listener,
    workers: bool,
    python: str | None,
) -> dict[str, Any]:
    """The whole of dendron.yaml."""
    synapse: dict[str, Any] = {"config": [str(layout.homeserver)]}
    if workers:
        synapse["workers"] = [str(layout.workers)]
    found: dict[str, Any] = {
        "listeners": [listener.settings() for listener in listeners],
        "admin": {"address": admin.address},
        "synapse": synapse,
    }
    if python:
        # Its default is one folder for all, in which two stacks would meet.
        found["supervise"] = {"python": python, "runtime_directory": str(layout.sockets)}
    return found
