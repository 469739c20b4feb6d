"""What of a play that was played again is held against the edge."""

from __future__ import annotations

import unittest

from differential import faults, told_alone
from scene import Row


def row(number: int, surplus: str = "", lost: str = "") -> Row:
    account, lacks = f"@devices-bob-{number}", [lost] if lost else []
    return Row("devices", "a new device", account, items=1, surplus=surplus, faults=lacks)


class Played(unittest.TestCase):
    def test_what_the_edge_alone_was_told_must_be_told_to_both_once(self) -> None:
        self.assertEqual(told_alone([row(1, surplus="more"), row(2)]), [])
        self.assertEqual(faults([row(1, surplus="more"), row(2)]), [])
        self.assertEqual(len(told_alone([row(1, surplus="more")])), 1)
        self.assertEqual(len(faults([row(1, surplus="more"), row(2, surplus="more")])), 2)

    def test_what_is_lost_at_the_edge_is_lost_however_often_it_is_played(self) -> None:
        self.assertEqual(len(faults([row(1, lost="lost"), row(2)])), 1)


if __name__ == "__main__":
    unittest.main()
