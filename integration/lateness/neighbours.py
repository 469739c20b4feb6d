"""Two homeservers that share a room: one must have heard of what the other did before it can go on from there."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from http_client import require, segment
from scene import Fire, Scene
from stage import CLIENT, Account

# How long news may take from one homeserver to the other.
NEWS_SECONDS = 30.0
# What a user may do with this power in a room of default settings: change its state, invite, kick, ban.
MODERATOR = 50


@dataclass
class Neighbours:
    """A scene in which Rita takes part, whose homeserver is the other one. She only acts."""

    scene: Scene
    rita: Account

    @classmethod
    async def of(cls, scene: Scene) -> Neighbours:
        """Makes Rita's account."""
        return cls(scene, await scene.stage.register_elsewhere(f"{scene.name}-rita"))

    @property
    def here(self) -> str:
        """The name of the homeserver that is tested."""
        return self.scene.stage.home.name

    @property
    def there(self) -> str:
        """The name of Rita's."""
        return self.rita.id.partition(":")[2]

    async def shared_room(self) -> str:
        """A room of Alice's, with everybody in it. Rita moderates."""
        alice, *others = self.scene.accounts
        room = await alice.create_room(power_level_content_override={"users": {self.rita.id: MODERATOR}})
        for account in others:
            await account.join(room)
        await self.rita.join(room, self.here)
        await whole(self.rita, room)
        return room

    async def moved(self, source: str, fire: Fire, who: Account, room: str, wakes: list[Account]) -> None:
        """A row in which somebody's membership changes, of which both Alice's homeserver and Rita's then know."""
        await self.scene.row(source, fire, wakes)
        deadline = time.monotonic() + NEWS_SECONDS
        witnesses = (self.scene.accounts[0], self.rita)
        while len(told := {await _membership(witness, room, who) for witness in witnesses}) > 1:
            require(time.monotonic() < deadline, f"{source}: the homeservers do not agree about {who.id}: {told}")
            await asyncio.sleep(0.05)


async def whole(account: Account, room: str) -> None:
    """Waits until a homeserver has the whole of a room: Synapse joins one of another's without its members at first."""
    await account.in_room("GET", room, "joined_members")


async def _membership(witness: Account, room: str, who: Account) -> str:
    """What somebody who is or was in a room is told of somebody's membership. Who has left is told how it was then."""
    path = f"{CLIENT}/rooms/{segment(room)}/state/m.room.member/{segment(who.id)}"
    answer = await witness.server.send("GET", path, witness.token)
    if answer.status == 403:
        # Who is banned is told nothing, not even that.
        return "ban"
    membership: str = answer.json.get("membership", answer.body.decode())
    return membership
