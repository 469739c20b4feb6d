"""A Matrix user driven by matrix-nio, with a `/sync` loop of its own in the background.

Everything that the loop sees is kept with the number of the poll that brought it. That number is what lets a test
prove that a message woke a long-poll which was already waiting, instead of merely turning up in a later one.

The loop does what nio's own `sync_forever` does between polls (upload, query and claim keys). It is written out here
because `sync_forever` does not tell when a poll starts.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import nio

from matrix_http import tls_context
from steps import WAIT_SECONDS, Failure, require

# The timeout that the loop asks the server for. Short, so that a conversation has polls in it that end with nothing: what
# stands before a homeserver may learn from these to hold the next ones itself.
POLL_MILLISECONDS = 2_000

# A poll that has been open for this long is waiting at the server: one with something to say answers sooner.
PARKED_SECONDS = 0.5

# A poll may also be ended by something else (presence, device lists) just as the test sends, so the proof may be begun
# again; a server or proxy that never holds or never wakes a poll fails each time.
WAKE_ATTEMPTS = 4

# How many polls are let pass before a wait counts as a quiet one.
QUIET_POLLS = 3

Response = TypeVar("Response")

# nio warns on stderr of each device that it has not talked with yet; here stderr is for the reason of a failure.
logging.getLogger("nio").setLevel(logging.ERROR)


def expect(response: object, kind: type[Response]) -> Response:
    """Returns `response` if it is of `kind`. nio answers failures with an error object instead of raising."""
    if not isinstance(response, kind):
        raise Failure(f"expected {kind.__name__}, got {response}")
    return response


@dataclass(frozen=True)
class Seen:
    """One thing that `/sync` brought: an event, a receipt, a typing notice, account data, …"""

    poll: int
    room_id: str | None
    event: Any


class User:
    """One account on one device."""

    def __init__(self, client: nio.AsyncClient, password: str) -> None:
        self.client = client
        self.password = password
        self._seen: list[Seen] = []
        self._changed = asyncio.Condition()
        self._poll = 0
        self._poll_started: float | None = None
        self._first_sync_done = False
        self._loop: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """The full user id."""
        return self.client.user_id

    @property
    def token(self) -> str:
        """The access token, for requests that nio does not have."""
        return self.client.access_token

    # -- Beginning and end --

    @classmethod
    async def login(cls, url: str, name: str, password: str, store_path: str, ca_file: str | None = None) -> User:
        """Logs in by password on a new device, with end-to-end encryption on."""
        client = new_client(url, name, ca_file, store_path)
        try:
            expect(await client.login(password, device_name="a fresh device"), nio.LoginResponse)
        except BaseException:
            await client.close()
            raise
        return cls(client, password)

    async def start(self) -> None:
        """Starts the loop, and returns when the initial sync is done and the device's keys are uploaded."""
        self.client.add_event_callback(self._on_room_event, (nio.Event, nio.InviteEvent))
        self.client.add_ephemeral_callback(self._on_room_event, nio.EphemeralEvent)
        self.client.add_room_account_data_callback(self._on_room_event, nio.AccountDataEvent)
        self.client.add_global_account_data_callback(self._on_event, nio.AccountDataEvent)
        self.client.add_presence_callback(self._on_event, nio.PresenceEvent)
        self.client.add_to_device_callback(self._on_event, nio.ToDeviceEvent)
        self._loop = asyncio.create_task(self._sync_loop())
        await self._until("the first sync", lambda: self._first_sync_done or None)

    async def stop(self) -> None:
        """Ends the loop. The poll that is open is dropped, as a client does that goes away."""
        if self._loop:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None

    async def close(self) -> None:
        """Ends the loop and the connections."""
        await self.stop()
        await self.client.close()

    # -- Waiting --

    async def wait_for(self, description: str, matches: Callable[[Seen], bool]) -> Seen:
        """Returns the first thing that `/sync` brought, now or in the past, for which `matches` holds."""
        return await self._until(description, lambda: next((seen for seen in self._seen if matches(seen)), None))

    async def wait_for_event(self, event_id: str) -> Seen:
        """Waits for the room event `event_id`."""
        return await self.wait_for(
            f"event {event_id} at {self.id}", lambda seen: getattr(seen.event, "event_id", None) == event_id
        )

    async def parked(self) -> int:
        """Waits until a poll is being held by the server, and returns its number."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            self._raise_if_ended()
            if self._poll_started is not None and time.monotonic() - self._poll_started >= PARKED_SECONDS:
                return self._poll
            await asyncio.sleep(0.02)
        raise Failure(f"no poll of {self.id} was held for {PARKED_SECONDS} s")

    async def quiet(self) -> None:
        """Waits until polls have ended with nothing, one after the other."""
        first = self._poll
        await self._until("quiet polls", lambda: self._poll >= first + QUIET_POLLS or None)

    async def woken_by(self, send: Callable[[], Awaitable[str]]) -> Seen:
        """Proves that the event which `send` makes arrives through the poll that waits at this moment."""
        for _ in range(WAKE_ATTEMPTS):
            poll = await self.parked()
            seen = await self.wait_for_event(await send())
            if seen.poll == poll:
                return seen
        raise Failure(f"no poll of {self.id} that was already waiting brought the message")

    # -- Sending --

    async def create_room(self, **arguments: Any) -> str:
        """Creates a room and returns its id once `/sync` has shown it, as nio must know a room to send into it."""
        room_id = expect(await self.client.room_create(**arguments), nio.RoomCreateResponse).room_id
        await self._until(f"the room {room_id} at {self.id}", lambda: self.client.rooms.get(room_id))
        return room_id

    async def send(self, room_id: str, content: dict[str, Any], kind: str = "m.room.message") -> str:
        """Sends an event, encrypted when the room is, and returns its id."""
        sent = await self.client.room_send(room_id, kind, content, ignore_unverified_devices=True)
        return expect(sent, nio.RoomSendResponse).event_id

    async def say(self, room_id: str, text: str) -> str:
        """Sends a text message and returns its event id."""
        return await self.send(room_id, {"msgtype": "m.text", "body": text})

    async def join_when_invited(self, room_id: str) -> None:
        """Waits for the invite to come through `/sync`, joins, and waits until nio knows the room as joined."""
        await self.wait_for(
            f"the invite to {room_id}",
            lambda seen: seen.room_id == room_id and getattr(seen.event, "membership", None) == "invite",
        )
        expect(await self.client.join(room_id), nio.JoinResponse)
        await self._until(f"the room {room_id} at {self.id}", lambda: self.client.rooms.get(room_id))

    async def wait_for_member(self, room_id: str, user_id: str) -> None:
        """Waits until `/sync` has shown `user_id` as a joined member of the room."""
        await self.wait_for(
            f"{user_id} in {room_id}",
            lambda seen: (
                isinstance(seen.event, nio.RoomMemberEvent)
                and (seen.room_id, seen.event.state_key, seen.event.membership) == (room_id, user_id, "join")
            ),
        )

    # -- The loop --

    async def _sync_loop(self) -> None:
        try:
            while True:
                self._poll += 1
                self._poll_started = time.monotonic()
                timeout = 0 if self._poll == 1 else POLL_MILLISECONDS
                expect(await self.client.sync(timeout=timeout), nio.SyncResponse)
                self._poll_started = None
                await self._keep_keys()
                self._first_sync_done = True
                await self._notify()
        finally:
            self._poll_started = None
            await self._notify()

    async def _keep_keys(self) -> None:
        await self.client.send_to_device_messages()
        if self.client.should_upload_keys:
            expect(await self.client.keys_upload(), nio.KeysUploadResponse)
        if self.client.should_query_keys:
            expect(await self.client.keys_query(), nio.KeysQueryResponse)
        if self.client.should_claim_keys:
            expect(await self.client.keys_claim(self.client.get_users_for_key_claiming()), nio.KeysClaimResponse)

    async def _on_room_event(self, room: nio.MatrixRoom, event: Any) -> None:
        self._seen.append(Seen(self._poll, room.room_id, event))
        await self._notify()

    async def _on_event(self, event: Any) -> None:
        self._seen.append(Seen(self._poll, None, event))
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _until(self, description: str, check: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(WAIT_SECONDS), self._changed:
                while True:
                    result = check()
                    if result is not None:
                        return result
                    self._raise_if_ended()
                    await self._changed.wait()
        except TimeoutError as error:
            raise Failure(f"{description}: not within {WAIT_SECONDS:.0f} s") from error

    def _raise_if_ended(self) -> None:
        require(self._loop is not None, f"the sync loop of {self.id} is not running")
        if self._loop and self._loop.done():
            error = self._loop.exception()
            raise Failure(f"the sync loop of {self.id} ended: {error!r}") from error


def new_client(url: str, name: str, ca_file: str | None = None, store_path: str | None = None) -> nio.AsyncClient:
    """A nio client that shows each failure at once: it neither retries timeouts nor waits out rate limits."""
    config = nio.AsyncClientConfig(
        max_limit_exceeded=0, max_timeouts=0, request_timeout=40, encryption_enabled=store_path is not None
    )
    return nio.AsyncClient(url, name, store_path=store_path, config=config, ssl=tls_context(ca_file))


async def register(url: str, name: str, password: str, ca_file: str | None = None) -> nio.RegisterResponse:
    """Registers an account by `m.login.dummy`, and returns the session that registration itself opens."""
    client = new_client(url, name, ca_file)
    try:
        return expect(await client.register(name, password, "the registering device"), nio.RegisterResponse)
    finally:
        await client.close()


def fresh_name(prefix: str) -> str:
    """A user or alias name that no earlier run on the same server has used."""
    return f"{prefix}-{secrets.token_hex(4)}"
