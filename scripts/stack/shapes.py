"""The shapes a stack can have: which Synapse processes there are, and what each of them serves.

A shape says nothing about ports or paths (see ``layout``) and nothing about file formats (see ``synapse``).
Both kinds of listener occur in every shape with workers, because dendron has to reach Synapse over both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MAIN = "main"


@dataclass(frozen=True)
class Process:
    """One Synapse process."""

    name: str
    # Whether its listener for requests is a unix socket (else TCP on loopback).
    unix: bool
    # The resources of that listener. `health` and `metrics` are added to every one.
    resources: tuple[str, ...]
    # The listener on which other Synapse processes call this one: "tcp", "unix" or, if none of them has to, None.
    replication: str | None = None
    # Settings that only this process has.
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Shape:
    """A set of processes that make one homeserver."""

    processes: tuple[Process, ...]
    # Which process writes which stream. Streams that are not named belong to the main process.
    stream_writers: dict[str, list[str]] = field(default_factory=dict)
    # Settings that all processes share.
    settings: dict[str, Any] = field(default_factory=dict)
    # Whether the stack is for tests: no rate limits, cheap passwords, open registration, a database that may lose data.
    for_tests: bool = True

    @property
    def workers(self) -> tuple[Process, ...]:
        """Every process but the main one."""
        return tuple(process for process in self.processes if process.name != MAIN)


# The resources of a process that serves everything.
EVERYTHING = ("client", "federation", "media", "openid", "static")

# The streams of which one process, `writer1`, is the writer. They fit in one process because Synapse asks only that
# a stream's writer is known, not that it is alone; a process for each would be ten Pythons.
WRITER1_STREAMS = (
    "typing",
    "to_device",
    "account_data",
    "receipts",
    "presence",
    "push_rules",
    "device_lists",
    "thread_subscriptions",
)

# One process, which listens for others all the same: dendron can be the one that calls it.
MONOLITH = Shape(processes=(Process(MAIN, unix=False, resources=EVERYTHING, replication="tcp"),))
# The same, where the others would call it over a unix socket.
MONOLITH_UNIX = Shape(processes=(Process(MAIN, unix=False, resources=EVERYTHING, replication="unix"),))

DEMO = Shape(
    processes=(
        Process(MAIN, unix=False, resources=EVERYTHING, replication="unix"),
        Process("sync1", unix=True, resources=("client",)),
        Process("sync2", unix=True, resources=("client",)),
        Process("generic1", unix=False, resources=("client", "federation")),
    ),
    for_tests=False,
)

WORKERS = Shape(
    processes=(
        # Without the media repository: Synapse refuses the resource `media` then.
        Process(MAIN, unix=True, resources=("client", "federation", "openid", "static"), replication="unix"),
        Process("sync1", unix=False, resources=("client",)),
        Process("sync2", unix=True, resources=("client",)),
        Process("generic1", unix=False, resources=("client",)),
        Process("writer1", unix=True, resources=("client",), replication="tcp"),
        Process("events1", unix=False, resources=("client",), replication="unix"),
        Process("federation_reader1", unix=True, resources=("federation",)),
        Process(
            "media1",
            unix=False,
            resources=("media",),
            replication="unix",
            settings={"enable_media_repo": True},
        ),
    ),
    stream_writers={
        "events": ["events1"],
        # The process that serves a quarantine must write its stream itself.
        "quarantined_media_changes": ["media1"],
        **{stream: ["writer1"] for stream in WRITER1_STREAMS},
    },
    settings={"enable_media_repo": False, "media_instance_running_background_jobs": "media1"},
)

# The streams that a process of their own writes in the shape `sharded`.
SHARDED_STREAMS = ("typing", "receipts", "to_device", "account_data", "presence", "push_rules", "device_lists")

# Every stream has a publisher of its own, and events have two, so that nothing is in order by chance.
SHARDED = Shape(
    processes=(
        Process(MAIN, unix=False, resources=EVERYTHING, replication="unix"),
        Process("sync1", unix=False, resources=("client",)),
        Process("sync2", unix=True, resources=("client",)),
        Process("events1", unix=False, resources=("client",), replication="tcp"),
        Process("events2", unix=True, resources=("client",), replication="unix"),
        *(Process(f"{stream}1", unix=True, resources=("client",), replication="unix") for stream in SHARDED_STREAMS),
    ),
    stream_writers={"events": ["events1", "events2"], **{stream: [f"{stream}1"] for stream in SHARDED_STREAMS}},
)

SHAPES = {
    "monolith": MONOLITH,
    "monolith-unix": MONOLITH_UNIX,
    "demo": DEMO,
    "workers": WORKERS,
    "sharded": SHARDED,
}
