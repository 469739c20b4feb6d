"""Whether two devices of an account were told the same since something happened."""

from __future__ import annotations

from dataclasses import dataclass

import answers
from device import Device

# What a device was told by key: the value, and when it was told.
Told = dict[tuple[str, ...], tuple[str, float]]
Values = dict[tuple[str, ...], str]


@dataclass
class Comparison:
    """What either device was told since then, without what both knew already."""

    edge: Told
    direct: Told
    # How many events were left out because both devices knew them already.
    repeated: int

    @classmethod
    def of(cls, edge: Device, direct: Device, since: float, known: Values) -> Comparison:
        """Compares what was told since a point in time, before which both knew this."""
        told = edge.told(since), direct.told(since)
        mine, theirs = (_news(each, known) for each in told)
        return cls(mine, theirs, sum(map(len, told)) - len(mine) - len(theirs))

    @property
    def is_same(self) -> bool:
        """Whether both were told the same."""
        return _values(self.edge) == _values(self.direct)

    @property
    def lacks_nothing(self) -> bool:
        """Whether the edge's device was told all that the other one was, as it was."""
        mine = _values(self.edge)
        return all(mine.get(key) == value for key, value in _values(self.direct).items())

    @property
    def late_seconds(self) -> float | None:
        """How much later the edge's device was told: the latest item of all. Negative if it was told earlier."""
        both = self.edge.keys() & self.direct.keys()
        return max((self.edge[key][1] - self.direct[key][1] for key in both), default=None)

    def difference(self) -> str:
        """In what they differ, for people."""
        mine, theirs = _values(self.edge), _values(self.direct)
        lost = {key: value for key, value in theirs.items() if key not in mine}
        more = {key: value for key, value in mine.items() if key not in theirs}
        other = {key: (mine[key], theirs[key]) for key in mine.keys() & theirs.keys() if mine[key] != theirs[key]}
        return f"lost at the edge: {lost}; only at the edge: {more}; different: {other}"


def known_to_both(edge: Device, direct: Device, moment: float) -> Values:
    """The events that both devices were told before a point in time, and whose presence the edge's was told as it is.

    Synapse tells one of them again where a room's history has branched, which is whenever two processes make an event at
    the same moment: an answer that begins on one branch and ends on the other has in its `state` what differs between
    them (`_calculate_state` in its `handlers/sync.py`). Where answers begin is a matter of moments, so that one device
    is told again what the other one is not.

    Presence is told again when nothing of it has changed that is compared, and a poll that waits at Synapse is not always
    woken by it: that of several users who come at the same moment may be told by the next answer only, whatever that is
    for. The edge's device asks anew then, and is told seconds before the other one.

    Nothing else is left out: it may become what it was.
    """
    mine, theirs = edge.told_before(moment), direct.told_before(moment)
    return {
        key: value
        for key, value in mine.items()
        if answers.is_presence(key) or (answers.is_event(key) and theirs.get(key) == value)
    }


def _news(told: Told, known: Values) -> Told:
    return {key: (value, moment) for key, (value, moment) in told.items() if known.get(key) != value}


def _values(told: Told) -> Values:
    return {key: value for key, (value, _) in told.items()}
