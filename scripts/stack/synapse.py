"""Synapse's configuration files, written from a shape and its addresses.

Everything is said once and by absolute path, so that any process can be started from any folder. What is not said
here is Synapse's default, because dendron has to stand before a stock Synapse.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from . import secret
from .layout import Layout, Ports
from .shapes import MAIN, Process, Shape

DATABASE_NAME = "synapse"
DATABASE_USER = "synapse"
# PostgreSQL listens on a unix socket only; the number is a part of the socket's name.
DATABASE_PORT = 5432

# High enough to never be met, low enough for the arithmetic of Synapse's limiters.
_NO_LIMIT = {"per_second": 10_000, "burst_count": 100_000}

_NO_RATE_LIMITS: dict[str, Any] = {
    "rc_message": _NO_LIMIT,
    "rc_registration": _NO_LIMIT,
    "rc_registration_token_validity": _NO_LIMIT,
    "rc_login": {"address": _NO_LIMIT, "account": _NO_LIMIT, "failed_attempts": _NO_LIMIT},
    "rc_admin_redaction": _NO_LIMIT,
    "rc_joins": {"local": _NO_LIMIT, "remote": _NO_LIMIT},
    "rc_joins_per_room": _NO_LIMIT,
    "rc_key_requests": _NO_LIMIT,
    "rc_3pid_validation": _NO_LIMIT,
    "rc_invites": {"per_room": _NO_LIMIT, "per_user": _NO_LIMIT, "per_issuer": _NO_LIMIT},
    "rc_third_party_invite": _NO_LIMIT,
    "rc_media_create": _NO_LIMIT,
    "rc_presence": {"per_user": _NO_LIMIT},
    "rc_delayed_event_mgmt": _NO_LIMIT,
    "rc_room_creation": _NO_LIMIT,
    "rc_reports": _NO_LIMIT,
    "rc_user_directory": _NO_LIMIT,
    "rc_federation": {
        "window_size": 1000,
        "sleep_limit": 100_000,
        "sleep_delay": 1,
        "reject_limit": 100_000,
        "concurrent": 100,
    },
}


@dataclass(frozen=True)
class Address:
    """Where a process listens."""

    port: int | None = None
    path: Path | None = None

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"http://127.0.0.1:{self.port}"

    def listener(self, resources: tuple[str, ...]) -> dict[str, Any]:
        """A listener of Synapse's at this address."""
        place: dict[str, Any] = {"path": str(self.path)} if self.path else {"port": self.port}
        if not self.path:
            place["bind_addresses"] = ["127.0.0.1"]
        return {
            **place,
            "type": "http",
            "x_forwarded": True,
            "request_id_header": "X-Request-Id",
            "resources": [{"names": list(resources)}],
        }

    def instance(self) -> dict[str, Any]:
        """This address as an entry of `instance_map`."""
        return {"path": str(self.path)} if self.path else {"host": "127.0.0.1", "port": self.port}


@dataclass(frozen=True)
class Place:
    """A process and its addresses."""

    process: Process
    requests: Address
    replication: Address | None

    @property
    def name(self) -> str:
        """The process's name."""
        return self.process.name

    def listeners(self) -> list[dict[str, Any]]:
        """Its listeners, as Synapse wants them."""
        found = [self.requests.listener((*self.process.resources, "health", "metrics"))]
        if self.replication:
            found.append(self.replication.listener(("replication",)))
        return found


@dataclass(frozen=True)
class Federation:
    """What a homeserver needs to federate with another one on the same machine."""

    # The private authority that signed both homeservers' certificates.
    authority: Path


@dataclass(frozen=True)
class Logins:
    """How people log in, where it is not as in every stack for tests."""

    # Whether logins are limited as Synapse limits them by default.
    limited: bool = False
    # Whether a signed token logs in too (`org.matrix.login.jwt`). Synapse needs the package authlib for that.
    jwt: bool = False


def places(shape: Shape, layout: Layout, ports: Ports) -> list[Place]:
    """Gives every process of a shape its addresses."""
    return [_place(process, layout, ports) for process in shape.processes]


def _place(process: Process, layout: Layout, ports: Ports) -> Place:
    replication = None
    if process.replication:
        replication = _address(f"{process.name}-replication", process.replication == "unix", layout, ports)
    return Place(process, _address(process.name, process.unix, layout, ports), replication)


def _address(name: str, unix: bool, layout: Layout, ports: Ports) -> Address:
    if unix:
        return Address(path=layout.sockets / f"{name}.sock")
    return Address(port=ports.choose(name))


def homeserver(
    shape: Shape,
    layout: Layout,
    everywhere: list[Place],
    server_name: str,
    public_baseurl: str,
    federation: Federation | None,
    logins: Logins,
    more: dict[str, Any],
) -> dict[str, Any]:
    """The configuration that all processes share; `more` are settings of the caller's, which count before all others."""
    main = next(place for place in everywhere if place.name == MAIN)
    settings: dict[str, Any] = {
        "server_name": server_name,
        "public_baseurl": public_baseurl,
        "report_stats": False,
        "pid_file": str(layout.dir / "main.pid"),
        "log_config": str(log_config_path(layout, MAIN)),
        "signing_key_path": str(secret.signing_key_path(layout)),
        "media_store_path": str(layout.media),
        "listeners": main.listeners(),
        "database": _database(layout),
        "redis": {"enabled": True, "path": str(redis_socket(layout))},
        "enable_metrics": True,
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        "url_preview_enabled": False,
        "enable_registration": True,
        "enable_registration_without_verification": True,
    }
    for setting, name in secret.SYNAPSE_SECRETS.items():
        settings[setting] = str(secret.path_of(layout, name))
    instances = _instance_map(everywhere)
    if instances:
        settings["instance_map"] = instances
    if shape.stream_writers:
        settings["stream_writers"] = shape.stream_writers
    if shape.for_tests:
        settings |= _for_tests(layout)
    if logins.limited:
        settings.pop("rc_login", None)
    if logins.jwt:
        settings["jwt_config"] = {"enabled": True, "secret": secret.text(layout, "jwt"), "algorithm": "HS256"}
    if federation:
        settings |= _federation(federation)
    return settings | shape.settings | more


def worker(layout: Layout, place: Place) -> dict[str, Any]:
    """The configuration that one worker has of its own."""
    return {
        "worker_app": "synapse.app.generic_worker",
        "worker_name": place.name,
        "worker_listeners": place.listeners(),
        "worker_log_config": str(log_config_path(layout, place.name)),
        **place.process.settings,
    }


def log_config(layout: Layout, name: str) -> dict[str, Any]:
    """Logging for one process: a file of its own, with a line for every request it served."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request)s] %(message)s"}},
        "handlers": {
            "file": {
                "class": "logging.FileHandler",
                "formatter": "line",
                "filename": str(log_path(layout, name)),
                "encoding": "utf8",
            }
        },
        # At DEBUG this logger prints statements, which can hold tokens.
        "loggers": {"synapse.storage.SQL": {"level": "INFO"}},
        "root": {"level": "INFO", "handlers": ["file"]},
    }


def log_path(layout: Layout, name: str) -> Path:
    """The log of one process."""
    return layout.log / f"{name}.log"


def log_config_path(layout: Layout, name: str) -> Path:
    """The logging configuration of one process."""
    return layout.log_config / f"{name}.yaml"


def worker_path(layout: Layout, name: str) -> Path:
    """The configuration file of one worker."""
    return layout.workers / f"{name}.yaml"


def redis_socket(layout: Layout) -> Path:
    """The unix socket of Redis."""
    return layout.sockets / "redis.sock"


def command(layout: Layout, name: str, python: str) -> list[str]:
    """The command line that starts one process in the foreground."""
    if name == MAIN:
        return [python, "-m", "synapse.app.homeserver", "-c", str(layout.homeserver)]
    own = str(worker_path(layout, name))
    return [python, "-m", "synapse.app.generic_worker", "-c", str(layout.homeserver), "-c", own]


def write(path: Path, settings: dict[str, Any]) -> None:
    """Writes one configuration file."""
    text = yaml.dump(settings, Dumper=_Plain, sort_keys=False, default_flow_style=False, width=118)
    path.write_text("# Written by scripts/stack.py, which writes it again at the next start.\n" + text)


class _Plain(yaml.SafeDumper):
    """Writes a value again wherever it occurs, instead of an alias: a file is read by people too."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _database(layout: Layout) -> dict[str, Any]:
    return {
        "name": "psycopg2",
        "args": {
            "host": str(layout.sockets),
            "port": DATABASE_PORT,
            "user": DATABASE_USER,
            "dbname": DATABASE_NAME,
            # Small pools: ten processes with Synapse's default would use up PostgreSQL's hundred connections.
            "cp_min": 1,
            "cp_max": 5,
        },
    }


def _instance_map(everywhere: list[Place]) -> dict[str, Any]:
    return {place.name: place.replication.instance() for place in everywhere if place.replication}


def _for_tests(layout: Layout) -> dict[str, Any]:
    return {
        # Four rounds is the least that bcrypt allows.
        "bcrypt_rounds": 4,
        # Synapse reads it from no file of its own.
        "password_config": {"pepper": secret.text(layout, "pepper")},
        # Synapse lets nobody publish a room by default.
        "room_list_publication_rules": [{"action": "allow"}],
        "allow_public_rooms_over_federation": True,
        **_NO_RATE_LIMITS,
    }


def _federation(federation: Federation) -> dict[str, Any]:
    return {
        "federation_custom_ca_list": [str(federation.authority)],
        "federation_verify_certificates": True,
        # The other homeserver is on loopback, which Synapse's default forbids it to call.
        "ip_range_blacklist": [],
        "federation_ip_range_blacklist": [],
    }
