"""Every source of wakes, fired while a poll waits at Synapse and another one, of the same user, at the edge."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable

from http_client import Failure
from plays import (
    elsewhere,
    ephemeral,
    federation,
    keys,
    membership,
    messages,
    own_data,
    rooms,
    sessions,
)
from scene import Row, Scene
from stage import Stage

Play = Callable[[Scene], Awaitable[None]]

# How late the edge may be: the median of all rows, and each of them. On a machine that does nothing else each is within
# the first one, too; on one that builds and tests beside this, Synapse itself is later than that now and then.
LATE_MEDIAN_SECONDS = 0.3
LATE_MAX_SECONDS = 1.0
# What is later than this fails in any case: a wake that is lost is noticed after five seconds at the earliest.
LATE_EVER_SECONDS = 4.0
# Now and then the edge lets a poll through, to renew its answer; Synapse itself forgets to tell one of two pollers now and
# then, when several things change at the same moment, or sends one of them back to where it had been; and a machine with
# other work stands still for a second or two. A play in which that happened is played again. Of what was late, or told to
# the edge alone, the best counts; a fault counts each time, unless a device was sent back.
PLAYED_AT_MOST = 3
# As many plays at once as two cores bear with a dozen processes of Synapse's.
AT_ONCE = 7

PLAYS: dict[str, tuple[Play, list[str]]] = {
    "messages": (messages.messages, ["alice", "bob"]),
    "membership": (membership.membership, ["alice", "bob"]),
    "knocking": (membership.knocking, ["alice", "bob"]),
    "own-data": (own_data.own_data, ["alice", "bob"]),
    "typing": (ephemeral.typing, ["alice", "bob"]),
    "receipts": (ephemeral.receipts, ["alice", "bob"]),
    "to-device": (keys.to_device, ["alice", "bob"]),
    "devices": (keys.devices, ["alice", "bob"]),
    "cross-signing": (keys.cross_signing, ["alice", "bob"]),
    "key-counts": (keys.key_counts, ["alice", "bob"]),
    "rooms": (rooms.rooms, ["alice", "bob"]),
    "threads": (rooms.threads, ["alice", "bob"]),
    "sessions": (sessions.sessions, ["left", "deleted", "changed", "locked", "deactivated"]),
}
WITH_PRESENCE: dict[str, tuple[Play, list[str]]] = {"presence": (ephemeral.presence, ["alice", "bob"])}
# Each with a third one, of another homeserver.
FEDERATION: dict[str, tuple[Play, list[str]]] = {
    "remote-messages": (federation.messages, ["alice", "bob"]),
    "remote-guest": (federation.guest, ["alice", "bob"]),
    "remote-moderator": (federation.moderator, ["alice", "bob"]),
    "remote-knocking": (federation.knocking, ["alice", "bob"]),
    "remote-typing": (federation.typing, ["alice", "bob"]),
    "remote-receipts": (federation.receipts, ["alice", "bob"]),
    "remote-to-device": (federation.to_device, ["alice", "bob"]),
    "remote-devices": (federation.devices, ["alice", "bob"]),
    "remote-cross-signing": (federation.cross_signing, ["alice", "bob"]),
    "remote-key-counts": (federation.key_counts, ["alice", "bob"]),
    "elsewhere-invites": (elsewhere.invites, ["alice", "bob"]),
    "elsewhere-rooms": (elsewhere.rooms, ["alice", "bob"]),
    "elsewhere-parts": (elsewhere.parts, ["alice", "bob"]),
    "elsewhere-knocking": (elsewhere.knocking, ["alice", "bob"]),
}
# Played after all others, one by one. What waits for a table that is held keeps a transaction of Synapse's open, and until
# that has ended its process publishes no further rows of the stream `caches`: not even its own workers are told of keys.
APART = {"elsewhere-parts"}
FEDERATION_WITH_PRESENCE: dict[str, tuple[Play, list[str]]] = {
    "remote-presence": (federation.presence, ["alice", "bob"])
}


async def run(stage: Stage, parks: bool, presence: bool, sliding: bool, only: str = "") -> list[Row]:
    """Plays everything that is to be played on a stage, a few plays at once, and returns all rows."""
    always, more = (FEDERATION, FEDERATION_WITH_PRESENCE) if stage.other else (PLAYS, WITH_PRESENCE)
    plays = always | (more if presence else {})
    rows: list[Row] = []
    for at_once, names in ((AT_ONCE, plays.keys() - APART), (1, plays.keys() & APART)):
        gate = asyncio.Semaphore(at_once)
        chosen = [(name, *plays[name]) for name in plays if name in names and only in name]
        running = [_play(stage, gate, *play, parks, sliding) for play in chosen]
        rows += [row for rows in await asyncio.gather(*running) for row in rows]
    if not rows:
        raise Failure(f"no play is named {only}")
    return rows


async def _play(
    stage: Stage, gate: asyncio.Semaphore, name: str, play: Play, people: list[str], parks: bool, sliding: bool
) -> list[Row]:
    rows: list[Row] = []
    async with gate:
        for left in reversed(range(PLAYED_AT_MOST)):
            scene = await Scene.open(stage, name, people, parks, sliding)
            try:
                await play(scene)
            except Failure as failure:
                scene.rows.append(Row(name, "the play itself", "", faults=[str(failure)]))
            finally:
                await scene.close()
            if scene.went_back and left and any(row.faults for row in scene.rows):
                rows += [row for row in scene.rows if not row.faults]
                continue
            rows += scene.rows
            if not unproved(rows) and not too_late(rows) and not told_alone(rows):
                break
    return rows


def unproved(rows: list[Row]) -> list[str]:
    """The sources that must concern somebody, and have never met a poll that the edge held, or told nobody anything."""
    proved = {(row.scene, row.source) for row in rows if row.items and row.parked}
    left = [row for row in rows if row.must and (row.scene, row.source) not in proved]
    return sorted({f"{row.scene}: {row.source} ({row.items} items, {row.how})" for row in left})


def told_alone(rows: list[Row]) -> list[str]:
    """What only the edge's device was told, however often it was played: Synapse may forget the other one once."""
    same = {(row.scene, row.source, _person(row)) for row in rows if not row.surplus}
    left = [row for row in rows if row.surplus and (row.scene, row.source, _person(row)) not in same]
    return [f"{row.scene}: {row.source} ({row.account}): {row.surplus}" for row in left]


def too_late(rows: list[Row]) -> list[str]:
    """What came too late, however often it was played."""
    best: dict[tuple[str, str, str], float] = {}
    for row in rows:
        if row.late_seconds is not None:
            key = (row.scene, row.source, _person(row))
            best[key] = min(best.get(key, float("inf")), row.late_seconds)
    late = {key: seconds for key, seconds in best.items() if seconds > LATE_MAX_SECONDS}
    return [f"{scene}: {source} ({who}) came {late[scene, source, who]:.3f} s later" for scene, source, who in late]


def report(rows: list[Row]) -> str:
    """All rows as a table, the latest first."""
    lines = [f"{'ms later':>9} {'items':>5} {'again':>5}  {'poll':<22} {'source':<58} account"]
    for row in sorted(rows, key=lambda row: -(row.late_seconds or 0.0)):
        late = "-" if row.late_seconds is None else f"{row.late_seconds * 1000:.0f}"
        source = f"{row.scene}: {row.source}"
        lines.append(f"{late:>9} {row.items:>5} {row.repeated:>5}  {row.how or '-':<22} {source:<58} {row.account}")
    return "\n".join(lines)


def faults(rows: list[Row]) -> list[str]:
    """What is not as it must be."""
    found = [f"{row.scene}: {row.source} ({row.account}): {fault}" for row in rows for fault in row.faults]
    found += [f"{source}: nothing is proved" for source in unproved(rows)]
    late = [row.late_seconds for row in rows if row.late_seconds is not None]
    if late and statistics.median(late) > LATE_MEDIAN_SECONDS:
        found.append(f"the median is {statistics.median(late):.3f} s, more than {LATE_MEDIAN_SECONDS} s")
    found += told_alone(rows)
    found += too_late(rows)
    for row in rows:
        if row.late_seconds is not None and row.late_seconds > LATE_EVER_SECONDS:
            found.append(f"{row.scene}: {row.source} ({row.account}) came {row.late_seconds:.3f} s later")
    return found


def _person(row: Row) -> str:
    """Who was watched: each time a play is played the same person has another account."""
    return row.account.rpartition("-")[0]
