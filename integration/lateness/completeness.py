"""Whatever has woken anybody at Synapse, by its own count, has woken somebody at the edge."""

from __future__ import annotations

from edge import Metrics
from http_client import Server

WOKEN = "synapse_notifier_users_woken_by_stream_total"
# What Synapse's notifier calls a stream, and what the edge calls it.
STREAMS = {
    "ROOM": "events",
    "PRESENCE": "presence",
    "TYPING": "typing",
    "RECEIPT": "receipts",
    "ACCOUNT_DATA": "account_data",
    "PUSH_RULES": "push_rules",
    "TO_DEVICE": "to_device",
    "DEVICE_LIST": "device_lists",
    "THREAD_SUBSCRIPTIONS": "thread_subscriptions",
    "STICKY_EVENTS": "sticky_events",
    "UN_PARTIAL_STATED_ROOMS": "un_partial_stated_room",
    "PROFILE_UPDATES": "profile_updates",
}
# Of these Synapse wakes everybody, and tells those who ask by sliding sync nothing.
UNTOLD_BY_SLIDING = {"PRESENCE"}
# Without these something was not played that has to be: by users of one homeserver, and by those of another one.
EVERYWHERE = {"ROOM", "TYPING", "RECEIPT", "TO_DEVICE", "DEVICE_LIST"}
EXPECTED = EVERYWHERE | {"ACCOUNT_DATA", "PUSH_RULES"}
FROM_ELSEWHERE = EVERYWHERE | {"UN_PARTIAL_STATED_ROOMS"}
# What the edge takes to concern everybody though nothing was lost: it was not understood. Each costs whoever is parked.
MISUNDERSTOOD = ("unknown_command", "malformed_command", "unknown_stream", "unknown_row", "gap_backwards")


async def woken_by_synapse(servers: list[Server]) -> dict[str, float]:
    """How many users Synapse's processes have woken so far, by the name of the stream."""
    sums: dict[str, float] = {}
    for server in servers:
        metrics = Metrics((await server.send("GET", "/_synapse/metrics")).body.decode())
        for stream, count in metrics.by(WOKEN, "stream").items():
            name = stream.removeprefix("StreamKeyType.")
            sums[name] = sums.get(name, 0.0) + count
    return sums


def faults(
    before: dict[str, float], after: dict[str, float], edge: Metrics, expected: set[str], untold: set[str]
) -> list[str]:
    """The streams, but for the `untold`, that have woken users at Synapse in the meantime, and nobody at the edge."""
    rose = {stream for stream, count in after.items() if count > before.get(stream, 0.0)} - untold
    woken = {reason for reason, count in edge.by("dendron_sync_wakes_total", "reason").items() if count > 0}
    found = [f"Synapse counts no wake by {stream}" for stream in sorted(expected - rose)]
    found += [f"Synapse has a stream that is not known here: {stream}" for stream in sorted(rose - STREAMS.keys())]
    silent = [stream for stream in sorted(rose & STREAMS.keys()) if STREAMS[stream] not in woken]
    return found + [f"{STREAMS[stream]} has woken users at Synapse, and nobody at the edge" for stream in silent]


def doubts(edge: Metrics) -> list[str]:
    """What the edge did not understand of what Synapse publishes, while no process has begun anew."""
    counted = edge.by("dendron_replication_doubts_total", "kind")
    return [f"{counted[kind]:.0f} times {kind}" for kind in MISUNDERSTOOD if counted.get(kind)]
