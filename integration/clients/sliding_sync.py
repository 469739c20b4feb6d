"""Simplified sliding sync (MSC4186) by plain HTTP: matrix-nio does not have it, and Element X uses nothing else.

A connection is opened, brought to rest, and then a long-poll that has nothing to say is woken by a message.
"""

from __future__ import annotations

import asyncio
from typing import Any

from conversation import Conversation
from nio_user import PARKED_SECONDS, WAKE_ATTEMPTS
from steps import WAIT_SECONDS, Failure, require

ENDPOINT = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"

REQUEST = {
    "conn_id": "main",
    "lists": {
        "all": {
            "ranges": [[0, 19]],
            "timeline_limit": 5,
            "required_state": [["m.room.create", ""], ["m.room.name", ""]],
        }
    },
}


async def sliding_sync(talk: Conversation) -> None:
    """Opens a sliding sync connection for Bob, and lets a message of Alice's wake its long-poll."""
    with talk.steps.step("sliding sync: first connect"):
        first = await _sync(talk, None, timeout_milliseconds=0)
        require(first["lists"]["all"]["count"] >= 2, f"the list has {first['lists']['all']['count']} rooms")
        for room_id, name in ((talk.plain_room, "a plain room"), (talk.encrypted_room, "an encrypted room")):
            require(first["rooms"][room_id]["name"] == name, f"{room_id} is not named {name!r}")
            require(first["rooms"][room_id]["initial"] is True, f"{room_id} is not marked as new to this connection")
    with talk.steps.step("sliding sync: a message wakes a waiting poll"):
        await _woken(talk, first["pos"])


async def _woken(talk: Conversation, position: str) -> None:
    for _ in range(WAKE_ATTEMPTS):
        poll = asyncio.create_task(_sync(talk, position, timeout_milliseconds=int(WAIT_SECONDS * 1000)))
        done, _ = await asyncio.wait({poll}, timeout=PARKED_SECONDS)
        if done:
            # The server still had something to say; the next poll begins where this one ended.
            position = poll.result()["pos"]
            continue
        event_id = await talk.alice.say(talk.plain_room, "sliding")
        answer = await asyncio.wait_for(poll, WAIT_SECONDS)
        timeline = answer["rooms"].get(talk.plain_room, {}).get("timeline", [])
        if any(event["event_id"] == event_id for event in timeline):
            return
        position = answer["pos"]
    raise Failure("no sliding sync poll that was already waiting brought the message")


async def _sync(talk: Conversation, position: str | None, timeout_milliseconds: int) -> dict[str, Any]:
    query = f"timeout={timeout_milliseconds}" + (f"&pos={position}" if position else "")
    return await talk.http.call("POST", f"{ENDPOINT}?{query}", talk.bob.token, REQUEST)
