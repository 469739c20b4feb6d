"""What counts as told, and what as lost."""

from __future__ import annotations

import unittest
from typing import Any

import answers
from comparison import Comparison, known_to_both
from device import Device, Poll, is_before

ROOM = "!a:localhost"
FIRED = 10.0


def message(event: str, **unsigned: Any) -> dict[str, Any]:
    content = {"event_id": event, "type": "m.room.message", "content": {"body": event}, "unsigned": unsigned}
    return {"rooms": {"join": {ROOM: {"timeline": {"events": [content]}}}}}


def typing(*users: str) -> dict[str, Any]:
    event = {"type": "m.typing", "content": {"user_ids": list(users)}}
    return {"rooms": {"join": {ROOM: {"ephemeral": {"events": [event]}}}}}


def receipt(event: str, thread: str) -> dict[str, Any]:
    content = {event: {"m.read": {"@a:localhost": {"thread_id": thread}}}}
    return {"rooms": {"join": {ROOM: {"ephemeral": {"events": [{"type": "m.receipt", "content": content}]}}}}}


def presence(state: str) -> dict[str, Any]:
    return {"presence": {"events": [{"sender": "@a:localhost", "content": {"presence": state}}]}}


def told(*answered: tuple[float, dict[str, Any]]) -> Device:
    """A device that was told so at these times."""
    device: Any = Device("a device", None, "", "")  # type: ignore[arg-type]
    device.polls = [Poll(at - 0.5, long=True, ended=at, items=answers.items(body)) for at, body in answered]
    return device


def compare(edge: Device, direct: Device) -> Comparison:
    return Comparison.of(edge, direct, FIRED, known_to_both(edge, direct, FIRED))


class Compared(unittest.TestCase):
    def test_an_event_that_both_know_may_be_repeated_to_either(self) -> None:
        again = told((1.0, message("$old")), (11.0, message("$new")), (12.0, message("$old")))
        once = told((2.0, message("$old")), (11.2, message("$new")))
        for edge, direct in ((once, again), (again, once)):
            found = compare(edge, direct)
            self.assertTrue(found.is_same, found.difference())
            self.assertEqual(found.repeated, 1)
        self.assertAlmostEqual(compare(once, again).late_seconds or 0.0, 0.2)

    def test_a_timeline_and_the_state_tell_the_same_event(self) -> None:
        before = (1.0, message("$old", membership="join"))
        found = compare(told(before), told(before, (12.0, message("$old"))))
        self.assertTrue(found.is_same, found.difference())

    def test_an_event_that_one_was_never_told_is_lost(self) -> None:
        again = told((1.0, message("$old")), (12.0, message("$old")))
        for edge, direct in ((told(), again), (again, told())):
            found = compare(edge, direct)
            self.assertFalse(found.is_same)
            self.assertEqual(found.repeated, 0)
        self.assertFalse(compare(told(), told((12.0, message("$new")))).is_same)

    def test_an_event_that_has_changed_is_news(self) -> None:
        before = (1.0, message("$old"))
        found = compare(told(before), told(before, (12.0, message("$old", redacted_because=message("$new")))))
        self.assertFalse(found.is_same)

    def test_presence_that_the_edge_has_told_may_come_later_directly(self) -> None:
        before = (1.0, presence("online"))
        self.assertTrue(compare(told(before), told((12.0, presence("online")))).is_same)
        self.assertTrue(compare(told(before, (12.0, presence("online"))), told(before)).is_same)
        self.assertFalse(compare(told(before), told(before, (12.0, presence("offline")))).is_same)
        gone = (2.0, presence("offline"))
        self.assertFalse(compare(told(before, gone), told(before, (12.0, presence("online")))).is_same)

    def test_who_was_told_more_lacks_nothing(self) -> None:
        less, more = told((11.0, message("$a"))), told((11.0, message("$a")), (12.0, message("$b")))
        self.assertFalse(compare(more, less).is_same)
        self.assertTrue(compare(more, less).lacks_nothing)
        self.assertFalse(compare(less, more).lacks_nothing)
        other = told((11.0, message("$a", redacted_because=message("$b"))), (12.0, message("$b")))
        self.assertFalse(compare(other, less).lacks_nothing)

    def test_what_is_no_event_may_become_again_what_it_was(self) -> None:
        for body in (typing("@a:localhost"), receipt("$event", "$thread")):
            before = (1.0, body)
            self.assertFalse(compare(told(before), told(before, (12.0, body))).is_same)


class Positions(unittest.TestCase):
    def test_a_position_is_before_another_in_any_stream(self) -> None:
        for mine, theirs, expected in (
            ("0/s459_2", "0/s520_2", True),
            ("0/s520_2", "0/s459_2", False),
            ("1/s520_2", "0/s520_2", False),
            ("9/m378~1.380_2", "9/s383_2", True),
            ("9/s384_2", "9/m378~1.380_2", False),
            ("0/s521_1", "0/s520_2", True),
        ):
            self.assertEqual(is_before(mine, theirs), expected, f"{mine} {theirs}")


if __name__ == "__main__":
    unittest.main()
