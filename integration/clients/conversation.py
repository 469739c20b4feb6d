"""What two users do in rooms: messages that wake a waiting `/sync`, encryption, edits, receipts, media, history.

Each function proves one group of endpoints with matrix-nio on both sides; what one user does is only believed when the
other one sees it through `/sync` or reads it back.
"""

from __future__ import annotations

import io
import secrets
from dataclasses import dataclass
from functools import partial
from typing import Any

import nio
from nio.crypto.attachments import decrypt_attachment

from matrix_http import MatrixHttp, segment
from nio_user import User, expect
from steps import Failure, Steps, require

# Larger than any buffer on the way that was not chosen on purpose, so that the body is streamed in several pieces.
MEDIA_BYTES = 1_500_000


@dataclass(frozen=True)
class Conversation:
    """Two users on one homeserver, the two rooms they share, and the way to plain requests."""

    steps: Steps
    http: MatrixHttp
    alice: User
    bob: User
    plain_room: str
    encrypted_room: str


async def open_rooms(steps: Steps, alice: User, bob: User) -> tuple[str, str]:
    """Creates a plain and an encrypted room; Bob is invited to both and joins. Returns their ids."""
    with steps.step("create a room, invite, join"):
        plain_room = await alice.create_room(name="a plain room", invite=[bob.id])
        await bob.join_when_invited(plain_room)
        await alice.wait_for_member(plain_room, bob.id)
    with steps.step("create an encrypted room, invite, join"):
        encryption = nio.EnableEncryptionBuilder().as_dict()
        encrypted_room = await alice.create_room(name="an encrypted room", invite=[bob.id], initial_state=[encryption])
        await bob.join_when_invited(encrypted_room)
        await alice.wait_for_member(encrypted_room, bob.id)
        for user in (alice, bob):
            require(user.client.rooms[encrypted_room].encrypted, f"{user.id} does not know that the room is encrypted")
    return plain_room, encrypted_room


async def plain_messages(talk: Conversation) -> None:
    """Messages in both directions, each through a long-poll that the server was already holding."""
    for sender, receiver, name in ((talk.alice, talk.bob, "there"), (talk.bob, talk.alice, "and back")):
        with talk.steps.step(f"a plain message wakes a waiting sync, {name}"):
            seen = await receiver.woken_by(partial(sender.say, talk.plain_room, f"plain {name}"))
            _require_text(seen.event, f"plain {name}", sender, decrypted=False)


async def encrypted_messages(talk: Conversation) -> None:
    """Encrypted messages in both directions: first the exchange of keys, then one that wakes a waiting long-poll."""
    for sender, receiver, name in ((talk.alice, talk.bob, "there"), (talk.bob, talk.alice, "and back")):
        with talk.steps.step(f"keys are shared and a message is decrypted, {name}"):
            # The room key comes first and as a to-device message, so this one need not come by the waiting poll.
            event_id = await sender.say(talk.encrypted_room, f"first {name}")
            seen = await receiver.wait_for_event(event_id)
            _require_text(seen.event, f"first {name}", sender, decrypted=True)
        with talk.steps.step(f"an encrypted message wakes a waiting sync, {name}"):
            seen = await receiver.woken_by(partial(sender.say, talk.encrypted_room, f"second {name}"))
            _require_text(seen.event, f"second {name}", sender, decrypted=True)


async def after_quiet(talk: Conversation) -> None:
    """Encrypted messages that end a quiet while, in both directions."""
    for sender, receiver, name in ((talk.alice, talk.bob, "there"), (talk.bob, talk.alice, "and back")):
        with talk.steps.step(f"an encrypted message wakes a sync after quiet ones, {name}"):
            await receiver.quiet()
            seen = await receiver.woken_by(partial(sender.say, talk.encrypted_room, f"third {name}"))
            _require_text(seen.event, f"third {name}", sender, decrypted=True)


async def changes_to_messages(talk: Conversation) -> None:
    """An edit, a reaction and a redaction are seen by the other user."""
    alice, bob, room = talk.alice, talk.bob, talk.plain_room
    original = await alice.say(room, "tpyo")
    with talk.steps.step("edit a message"):
        relation = {"rel_type": "m.replace", "event_id": original}
        new_content = {"msgtype": "m.text", "body": "typo"}
        edit = {"msgtype": "m.text", "body": "* typo", "m.new_content": new_content, "m.relates_to": relation}
        seen = await bob.wait_for_event(await alice.send(room, edit))
        content = seen.event.source["content"]
        require(content["m.relates_to"] == relation and content["m.new_content"] == new_content, "the edit is altered")
    with talk.steps.step("react to a message"):
        annotation = {"rel_type": "m.annotation", "event_id": original, "key": "👍"}
        seen = await alice.wait_for_event(await bob.send(room, {"m.relates_to": annotation}, "m.reaction"))
        require((seen.event.reacts_to, seen.event.key) == (original, "👍"), f"the reaction is altered: {seen.event}")
    with talk.steps.step("redact a message"):
        redaction = expect(await alice.client.room_redact(room, original, "a slip"), nio.RoomRedactResponse)
        seen = await bob.wait_for_event(redaction.event_id)
        require(isinstance(seen.event, nio.RedactionEvent), f"expected a redaction, got {seen.event}")
        event = expect(await bob.client.room_get_event(room, original), nio.RoomGetEventResponse).event
        require(isinstance(event, nio.RedactedEvent), f"the redacted event still has its content: {event}")


async def receipts_and_typing(talk: Conversation) -> None:
    """A read receipt, a fully-read marker and a typing notice."""
    alice, bob, room = talk.alice, talk.bob, talk.plain_room
    event_id = await alice.say(room, "read this")
    await bob.wait_for_event(event_id)
    with talk.steps.step("a read receipt is seen"):
        expect(await bob.client.update_receipt_marker(room, event_id), nio.UpdateReceiptMarkerResponse)
        await alice.wait_for(
            "the receipt",
            lambda seen: (
                isinstance(seen.event, nio.ReceiptEvent)
                and any((receipt.event_id, receipt.user_id) == (event_id, bob.id) for receipt in seen.event.receipts)
            ),
        )
    with talk.steps.step("a fully-read marker is seen on the own device"):
        expect(await bob.client.room_read_markers(room, event_id, event_id), nio.RoomReadMarkersResponse)
        await bob.wait_for(
            "the fully-read marker",
            lambda seen: isinstance(seen.event, nio.FullyReadEvent) and seen.event.event_id == event_id,
        )
    with talk.steps.step("a typing notice is seen"):
        expect(await bob.client.room_typing(room, True, 10_000), nio.RoomTypingResponse)
        await alice.wait_for(
            "the typing notice",
            lambda seen: isinstance(seen.event, nio.TypingNoticeEvent) and bob.id in seen.event.users,
        )
        expect(await bob.client.room_typing(room, False), nio.RoomTypingResponse)


async def media(talk: Conversation) -> None:
    """A file is the same bytes after upload and download, plain and as an encrypted attachment."""
    data = secrets.token_bytes(MEDIA_BYTES)
    with talk.steps.step("upload and download media"):
        uri, _ = await upload(talk.alice, data, encrypt=False)
        require(await download(talk.bob, uri) == data, "the downloaded bytes differ")
    with talk.steps.step("media without a token is refused"):
        answer = await talk.http.request("GET", f"/_matrix/client/v1/media/download/{uri.removeprefix('mxc://')}")
        require(
            (answer.status, answer.errcode) == (401, "M_MISSING_TOKEN"),
            f"expected 401 M_MISSING_TOKEN, got {answer.status} {answer.errcode}",
        )
    with talk.steps.step("upload and download an encrypted attachment"):
        uri, keys = await upload(talk.alice, data, encrypt=True)
        sealed = await download(talk.bob, uri)
        require(sealed != data, "the attachment is not encrypted")
        opened = decrypt_attachment(sealed, keys["key"]["k"], keys["hashes"]["sha256"], keys["iv"])
        require(opened == data, "the decrypted bytes differ")


async def history(talk: Conversation) -> None:
    """`/messages` page by page in both directions, and `/context` around one event."""
    alice, bob, room = talk.alice, talk.bob, talk.plain_room
    sent = [await alice.say(room, f"page {number}") for number in range(12)]
    await bob.wait_for_event(sent[-1])
    with talk.steps.step("messages backwards, page by page"):
        pages = await messages_backwards(bob, room, page_size=5)
        found = [event_id for event_id in pages if event_id in sent]
        require(found == sent[::-1], f"expected the {len(sent)} messages once each, newest first, got {len(found)}")
    with talk.steps.step("messages forwards from a token"):
        context = expect(await bob.client.room_context(room, sent[5], limit=2), nio.RoomContextResponse)
        page = expect(
            await bob.client.room_messages(room, context.start, direction=nio.MessageDirection.front, limit=3),
            nio.RoomMessagesResponse,
        )
        require([event.event_id for event in page.chunk] == sent[4:7], "the page forwards is wrong")
    with talk.steps.step("context of an event"):
        context = expect(await bob.client.room_context(room, sent[5], limit=4), nio.RoomContextResponse)
        require(context.event.event_id == sent[5], "the event itself is wrong")
        before = [event.event_id for event in context.events_before]
        after = [event.event_id for event in context.events_after]
        require(before == [sent[4], sent[3]], "the events before are wrong")
        require(after == sent[6:8], "the events after are wrong")
    with talk.steps.step("relations of an event"):
        address = f"/_matrix/client/v1/rooms/{segment(room)}/relations/{segment(sent[0])}"
        answer = await talk.http.call("GET", address, bob.token)
        require(answer["chunk"] == [], "a message without relations has some")


async def messages_backwards(user: User, room_id: str, page_size: int) -> list[str]:
    """The ids of all events of the room, newest first, read in pages until the server says that there are no more."""
    start, found = None, []
    for _ in range(100):
        response = await user.client.room_messages(room_id, start, limit=page_size)
        page = expect(response, nio.RoomMessagesResponse)
        found += [event.event_id for event in page.chunk]
        if page.end is None:
            return found
        start = page.end
    raise Failure("the pages of the room's history do not end")


async def upload(user: User, data: bytes, encrypt: bool) -> tuple[str, dict[str, Any]]:
    """Uploads `data` and returns its `mxc://` address, and the keys to open it when it was encrypted."""
    response, keys = await user.client.upload(
        io.BytesIO(data), "application/octet-stream", "bytes.bin", encrypt=encrypt, filesize=len(data)
    )
    return expect(response, nio.UploadResponse).content_uri, keys or {}


async def download(user: User, uri: str) -> bytes:
    """Downloads through the authenticated media endpoint, the only one that nio uses."""
    body: bytes = expect(await user.client.download(uri), nio.MemoryDownloadResponse).body
    return body


def _require_text(event: Any, text: str, sender: User, decrypted: bool) -> None:
    require(isinstance(event, nio.RoomMessageText), f"expected a text message, got {type(event).__name__}")
    got = (event.body, event.sender, event.decrypted)
    require(got == (text, sender.id, decrypted), f"expected {(text, sender.id, decrypted)}, got {got}")
