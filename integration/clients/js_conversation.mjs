/**
 * What two users do in rooms: messages that wake a waiting `/sync`, encryption, edits, receipts, media, history.
 *
 * What one user does is only believed when the other one's client shows it, or reads it back. A `talk` is
 * `{ steps, alice, bob, plainRoom, encryptedRoom }`.
 */

import { randomBytes } from "node:crypto";
import { require, requireEqual, until } from "./js_steps.mjs";

/** Larger than any buffer on the way that was not chosen on purpose, so that the body is streamed in several pieces. */
const MEDIA_BYTES = 1_500_000;

/** A device's keys, its fallback key, and more one-time keys after some were claimed; counts that are wrong make it more. */
const KEY_UPLOADS_MAX = 6;

/** Creates a plain and an encrypted room; Bob is invited to both and joins. */
export async function openRooms(steps, alice, bob) {
    const plainRoom = await steps.step("create a room, invite, join", () => openRoom(alice, bob, "a plain room", []));
    const encryptedRoom = await steps.step("create an encrypted room, invite, join", async () => {
        const content = { algorithm: "m.megolm.v1.aes-sha2" };
        const roomId = await openRoom(alice, bob, "an encrypted room", [
            { type: "m.room.encryption", state_key: "", content },
        ]);
        for (const user of [alice, bob]) {
            const crypto = user.client.getCrypto();
            await until(`${user.id} to know of the encryption`, () => crypto.isEncryptionEnabledInRoom(roomId));
        }
        return roomId;
    });
    return { plainRoom, encryptedRoom };
}

async function openRoom(alice, bob, name, initialState) {
    const options = { name, invite: [bob.id], preset: "private_chat", initial_state: initialState };
    const roomId = await alice.createRoom(options);
    await bob.joinWhenInvited(roomId);
    await alice.waitForMember(roomId, bob.id);
    return roomId;
}

/** Messages in both directions, each through a long-poll that the server was already holding. */
export async function plainMessages({ steps, alice, bob, plainRoom }) {
    for (const [sender, receiver, way] of [
        [alice, bob, "there"],
        [bob, alice, "and back"],
    ]) {
        await steps.step(`a plain message wakes a waiting sync, ${way}`, async () => {
            const event = await receiver.wokenBy(() => sender.say(plainRoom, `plain ${way}`));
            requireEqual(describe(event), [sender.id, `plain ${way}`, "m.room.message"], "the message");
        });
    }
}

/** Encrypted messages in both directions: first the exchange of keys, then one that wakes a waiting long-poll. */
export async function encryptedMessages({ steps, alice, bob, encryptedRoom }) {
    for (const [sender, receiver, way] of [
        [alice, bob, "there"],
        [bob, alice, "and back"],
    ]) {
        await steps.step(`keys are shared and a message is decrypted, ${way}`, async () => {
            // The room key comes first and as a to-device message, so this one need not come by the waiting poll.
            const { event } = await receiver.arrival(await sender.say(encryptedRoom, `first ${way}`));
            await requireDecrypted(event, sender, `first ${way}`);
        });
        await steps.step(`an encrypted message wakes a waiting sync, ${way}`, async () => {
            const event = await receiver.wokenBy(() => sender.say(encryptedRoom, `second ${way}`));
            await requireDecrypted(event, sender, `second ${way}`);
        });
    }
}

/** Encrypted messages that end a quiet while, in both directions. */
export async function afterQuiet({ steps, alice, bob, encryptedRoom }) {
    for (const [sender, receiver, way] of [
        [alice, bob, "there"],
        [bob, alice, "and back"],
    ]) {
        await steps.step(`an encrypted message wakes a sync after quiet ones, ${way}`, async () => {
            await receiver.quiet();
            const event = await receiver.wokenBy(() => sender.say(encryptedRoom, `third ${way}`));
            await requireDecrypted(event, sender, `third ${way}`);
        });
    }
    await steps.step("keys are not uploaded again and again", () => {
        for (const user of [alice, bob]) user.requireKeysUploadedAtMost(KEY_UPLOADS_MAX);
    });
}

/** An edit, a reaction and a redaction are seen by the other user. */
export async function changesToMessages({ steps, alice, bob, plainRoom }) {
    const original = await alice.say(plainRoom, "tpyo");
    const { event } = await bob.arrival(original);
    await steps.step("edit a message", async () => {
        await alice.client.sendMessage(plainRoom, {
            "msgtype": "m.text",
            "body": "* typo",
            "m.new_content": { msgtype: "m.text", body: "typo" },
            "m.relates_to": { rel_type: "m.replace", event_id: original },
        });
        await until("the edited text at the other user", () => event.getContent().body === "typo");
    });
    await steps.step("react to a message, and read the relation", async () => {
        const relation = { rel_type: "m.annotation", event_id: original, key: "👍" };
        const content = { "m.relates_to": relation };
        const { event_id: reaction } = await bob.client.sendEvent(plainRoom, "m.reaction", content);
        const arrival = await alice.arrival(reaction);
        requireEqual(arrival.event.getRelation(), relation, "the reaction");
        const { events } = await alice.client.relations(plainRoom, original, "m.annotation", "m.reaction");
        requireEqual(
            events.map((found) => found.getId()),
            [reaction],
            "the relations",
        );
    });
    await steps.step("redact a message", async () => {
        await alice.client.redactEvent(plainRoom, original, undefined, { reason: "a slip" });
        await until("the redaction at the other user", () => event.isRedacted());
        const stored = await bob.client.fetchRoomEvent(plainRoom, original);
        requireEqual(stored.content, {}, "the redacted content");
    });
}

/** A read receipt, a fully-read marker and a typing notice. */
export async function receiptsAndTyping({ steps, alice, bob, plainRoom }) {
    const eventId = await alice.say(plainRoom, "read this");
    const { event } = await bob.arrival(eventId);
    await steps.step("a read receipt is seen", async () => {
        await bob.client.sendReadReceipt(event);
        const room = alice.client.getRoom(plainRoom);
        // The second argument leaves out the receipts that the library invents from Bob's own messages.
        await until("the receipt", () => room.getReadReceiptForUserId(bob.id, true)?.eventId === eventId);
    });
    await steps.step("a fully-read marker is seen on the own device", async () => {
        await bob.client.setRoomReadMarkers(plainRoom, eventId, event);
        const room = bob.client.getRoom(plainRoom);
        await until("the marker", () => room.getAccountData("m.fully_read")?.getContent().event_id === eventId);
    });
    await steps.step("a typing notice is seen", async () => {
        const member = alice.client.getRoom(plainRoom).getMember(bob.id);
        await bob.client.sendTyping(plainRoom, true, 10_000);
        await until("the typing notice", () => member.typing);
        await bob.client.sendTyping(plainRoom, false, 0);
        await until("the end of typing", () => !member.typing);
    });
}

/** A file is the same bytes after upload and download through the authenticated media endpoint. */
export async function media({ steps, alice, bob }) {
    const data = randomBytes(MEDIA_BYTES);
    const uri = await steps.step("upload and download media", async () => {
        const file = { name: "bytes.bin", type: "application/octet-stream" };
        const { content_uri: mxc } = await alice.client.uploadContent(data, file);
        const [asItIs, links, redirects, authenticated] = [undefined, false, true, true];
        const address = bob.client.mxcUrlToHttp(mxc, asItIs, asItIs, asItIs, links, redirects, authenticated);
        const response = await fetch(address, { headers: { Authorization: `Bearer ${bob.token}` } });
        requireEqual(response.status, 200, "the download's status");
        require(data.equals(Buffer.from(await response.arrayBuffer())), "the downloaded bytes differ");
        return address;
    });
    await steps.step("media without a token is refused", async () => {
        const response = await fetch(uri);
        requireEqual([response.status, (await response.json()).errcode], [401, "M_MISSING_TOKEN"], "the answer");
    });
}

/** A device that knows only the newest event reads a room's past: around one event (`/context`), then by pages. */
export async function history({ steps, alice, plainRoom }, newDevice) {
    const sent = [];
    for (let number = 0; number < 12; number += 1) sent.push(await alice.say(plainRoom, `page ${number}`));
    await newDevice.start({ initialSyncLimit: 1 });
    const { client } = newDevice;
    const room = client.getRoom(plainRoom);
    await steps.step("context of an event, and messages forwards from it", async () => {
        const timeline = await client.getEventTimeline(room.getUnfilteredTimelineSet(), sent[4]);
        await client.paginateEventTimeline(timeline, { backwards: false, limit: 3 });
        const found = timeline.getEvents().map((event) => event.getId());
        require(found.includes(sent[4]), "the timeline around an event does not have the event");
        const wanted = found.filter((id) => sent.includes(id));
        requireEqual(wanted, sent.slice(sent.indexOf(wanted[0]), sent.indexOf(wanted.at(-1)) + 1), "the order");
    });
    await steps.step("messages backwards, page by page", async () => {
        const found = [];
        for (let from = null, page = 0; from !== undefined && page < 100; page += 1) {
            const answer = await client.createMessagesRequest(plainRoom, from, 5, "b");
            found.push(...answer.chunk.map((event) => event.event_id));
            from = answer.end;
        }
        requireEqual(
            found.filter((id) => sent.includes(id)),
            [...sent].reverse(),
            "the messages, newest first",
        );
    });
}

async function requireDecrypted(event, sender, body) {
    await until(`the text of ${event.getId()}`, () => event.getContent().body === body);
    requireEqual(describe(event), [sender.id, body, "m.room.encrypted"], "the encrypted message");
    require(!event.isDecryptionFailure(), "the message is shown, but its decryption failed");
}

function describe(event) {
    return [event.getSender(), event.getContent().body, event.getWireType()];
}
