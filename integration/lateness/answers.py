"""What the answer to a sync tells, taken apart into items that can be compared and timed one by one.

An item is a key and a value. Two devices of a user may be told the same in different portions: one gets a message and a
receipt in one answer, the other one in two. So what is compared is the last value of each key, over all answers since a
point. These fields are left out, because they differ between two requests for the same thing:

* `next_batch`, `pos`, `prev_batch`, `limited`, `num_live`, `bump_stamp`: where an answer ends, and how it was cut;
* `age` of an event and the time for which it still sticks, `last_active_ago` and `currently_active` of a user: they tell
  the time of the answer;
* `membership` of an event, which a timeline tells and the state does not, and `transaction_id`, which only the sender is told;
* `initial`, `lists`, `expanded_timeline`, `heroes`, `name`: what a sliding sync tells again whenever it likes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
Item = tuple[tuple[str, ...], str]

_TIMES = ("age", "msc4354_sticky_duration_ttl_ms")
_ROOMS = ("join", "leave", "invite", "knock", "room")
_COUNTS = "device_one_time_keys_count"
_FALLBACK = "device_unused_fallback_key_types"


def items(answer: Json) -> dict[tuple[str, ...], str]:
    """Everything that an answer of `/sync` tells."""
    return dict(_sync(answer))


def sliding_items(answer: Json) -> dict[tuple[str, ...], str]:
    """The same of a simplified sliding sync."""
    return dict(_sliding(answer))


def is_event(key: tuple[str, ...]) -> bool:
    """Whether an item is an event of a room, which is the same whenever it is told."""
    return len(key) == 3 and key[0] in _ROOMS


def is_presence(key: tuple[str, ...]) -> bool:
    """Whether an item is a user's presence."""
    return key[0] == "presence"


def counts(answer: Json) -> str:
    """The counts of keys at the server, which stand in every answer and make none worth telling."""
    return _text([answer.get(_COUNTS), answer.get(_FALLBACK)])


def sliding_counts(answer: Json) -> str:
    """The same of a simplified sliding sync."""
    return counts(answer.get("extensions", {}).get("e2ee", {}))


def _sync(answer: Json) -> Iterator[Item]:
    for membership, rooms in answer.get("rooms", {}).items():
        for room, told in rooms.items():
            yield from _room(membership, room, told)
    for event in _events(answer, "account_data"):
        yield ("account_data", event["type"]), _text(event["content"])
    for event in _events(answer, "presence"):
        yield _presence(event)
    yield from _to_device(_events(answer, "to_device"))
    yield from _device_lists(answer.get("device_lists", {}))


def _room(membership: str, room: str, told: Json) -> Iterator[Item]:
    for section in ("invite_state", "knock_state"):
        if section in told:
            yield (membership, room), _text([_event(event) for event in _events(told, section)])
    for section in ("state", "org.matrix.msc4222.state_after", "timeline", "msc4354_sticky"):
        for event in _events(told, section):
            # Which of the sections has an event depends on where an answer begins.
            yield (membership, room, event["event_id"]), _text(_event(event))
    if membership == "leave":
        yield (membership, room), ""
    for event in _events(told, "account_data"):
        yield ("account_data", room, event["type"]), _text(event["content"])
    for event in _events(told, "ephemeral"):
        yield from _ephemeral(room, event)
    for name in ("summary", "unread_notifications", "unread_thread_notifications"):
        if told.get(name):
            yield (name, room), _text(told[name])


def _ephemeral(room: str, event: Json) -> Iterator[Item]:
    if event["type"] == "m.typing":
        yield ("typing", room), _text(sorted(event["content"]["user_ids"]))
    elif event["type"] == "m.receipt":
        for event_id, kinds in event["content"].items():
            for kind, users in kinds.items():
                for user, receipt in users.items():
                    yield ("receipt", room, kind, user, str(receipt.get("thread_id"))), event_id
    else:
        yield ("ephemeral", room, event["type"]), _text(event["content"])


def _presence(event: Json) -> Item:
    content = {key: event["content"].get(key) for key in ("presence", "status_msg")}
    return ("presence", event["sender"]), _text(content)


def _to_device(events: list[Json]) -> Iterator[Item]:
    for event in events:
        yield ("to_device", event["sender"], event["type"], _text(event["content"])), ""


def _device_lists(told: Json) -> Iterator[Item]:
    for what in ("changed", "left"):
        for user in told.get(what, []):
            yield ("device_list", user), what


def _sliding(answer: Json) -> Iterator[Item]:
    for room, told in answer.get("rooms", {}).items():
        for event in [*told.get("required_state", []), *told.get("timeline", [])]:
            yield ("room", room, event["event_id"]), _text(_event(event))
        if "invite_state" in told:
            yield ("invite", room), _text([_event(event) for event in told["invite_state"]])
        for name in ("notification_count", "highlight_count", "joined_count", "invited_count", "membership"):
            if name in told:
                yield (name, room), _text(told[name])
    extensions = answer.get("extensions", {})
    for event in extensions.get("account_data", {}).get("global", []):
        yield ("account_data", event["type"]), _text(event["content"])
    for room, events in extensions.get("account_data", {}).get("rooms", {}).items():
        for event in events:
            yield ("account_data", room, event["type"]), _text(event["content"])
    for extension in ("receipts", "typing"):
        for room, event in extensions.get(extension, {}).get("rooms", {}).items():
            yield from _ephemeral(room, event)
    yield from _to_device(_events(extensions, "to_device"))
    yield from _device_lists(extensions.get("e2ee", {}).get("device_lists", {}))
    for name in ("subscribed", "unsubscribed"):
        for room, threads in extensions.get("io.element.msc4308.thread_subscriptions", {}).get(name, {}).items():
            for thread, told in threads.items():
                yield ("thread", room, thread), _text([name, told])


def _events(told: Json, section: str) -> list[Json]:
    events: list[Json] = told.get(section, {}).get("events", [])
    return events


def _event(event: Json) -> Json:
    """An event without the time of the answer."""
    event = {name: value for name, value in event.items() if name != "age"}
    unsigned = {name: value for name, value in event.pop("unsigned", {}).items() if name not in _TIMES}
    if "redacted_because" in unsigned:
        unsigned["redacted_because"] = _event(unsigned["redacted_because"])
    # Only the device that sent an event is told its transaction.
    unsigned.pop("transaction_id", None)
    # What the user was in the room at that time stands with an event of a timeline, and not with the same one as state.
    unsigned.pop("membership", None)
    return {**event, "unsigned": unsigned}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
