"""What of a play that was played again is held against the edge."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

from differential import PLAYED_AT_MOST, _play, faults, told_alone
from device import Device
from scene import Row, Scene
from stage import Account


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

    def test_a_fault_counts_unless_synapse_has_sent_a_device_back(self) -> None:
        for sent_back, faulty, plays in (
            (1, 1, 2),
            (0, 1, 1),
            (PLAYED_AT_MOST, PLAYED_AT_MOST, PLAYED_AT_MOST),
        ):
            rows = played(sent_back, faulty)
            # The fault of the last play stands, however it came.
            self.assertEqual(bool(faults(rows)), sent_back in (0, PLAYED_AT_MOST), rows)
            self.assertEqual(sum(row.source == "a new device" for row in rows), plays - min(sent_back, plays - 1))


def played(sent_back: int, faulty: int) -> list[Row]:
    """A play of which the first so many times a device was sent back, and the first so many had a fault."""
    times = iter(range(PLAYED_AT_MOST))

    async def play(scene: Scene) -> None:
        time = next(times)
        device: Any = Device("a device", None, "", "")  # type: ignore[arg-type]
        device.went_back = time < sent_back
        scene.accounts.append(Account(None, "", "", "", device))  # type: ignore[arg-type]
        scene.rows.append(row(time, lost="lost" if time < faulty else ""))

    stage: Any = None
    return asyncio.run(_play(stage, asyncio.Semaphore(1), "devices", play, [], parks=True, sliding=True))


if __name__ == "__main__":
    unittest.main()
