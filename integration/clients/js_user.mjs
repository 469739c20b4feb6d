/**
 * A Matrix user driven by matrix-js-sdk, with the library's own `/sync` loop.
 *
 * The user watches its requests through the `fetchFn` that the library lets one put in. From that it knows which poll
 * is being held by the server, and so can prove that a message woke a long-poll which was already waiting. It also
 * keeps each answer that a client must never see (5xx, a broken connection), because the library quietly tries again.
 */

import "./js_older_node.mjs";
import { randomBytes } from "node:crypto";
import * as sdk from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";
import { Failure, require, requireEqual, sleep, until, WAIT_MILLISECONDS } from "./js_steps.mjs";

/** A poll that has been open for this long is waiting at the server: one with something to say answers sooner. */
const PARKED_MILLISECONDS = 500;

/**
 * How long a poll lasts. Short, so that a conversation has polls in it that end with nothing: what stands before a
 * homeserver may learn from these to hold the next ones itself.
 */
const POLL_MILLISECONDS = 2_000;

/** How many polls are let pass before a wait counts as a quiet one. */
const QUIET_POLLS = 3;

/** Something else (presence, device lists) may end a poll just as the test sends, so the proof may be begun again. */
const WAKE_ATTEMPTS = 4;

/**
 * How long an ended token may still be taken: Synapse's workers remember tokens until the process that ended one has
 * told them, which takes a moment.
 */
const TOKEN_END_MILLISECONDS = 3_000;

// The library tells stdout of each request and each event; here stdout is for the steps. The loggers that it makes as
// it goes are children of this one, and take over its ways.
logger.methodFactory = () => () => {};
logger.rebuild();

/** A user or alias name that no earlier run on the same server has used. */
export function freshName(prefix) {
    return `${prefix}-${randomBytes(4).toString("hex")}`;
}

/** Registers an account by `m.login.dummy`, and returns the session that registration itself opens. */
export async function register(url, username, password) {
    const client = sdk.createClient({ baseUrl: url });
    return await client.registerRequest({ username, password, auth: { type: "m.login.dummy" } });
}

/** Logs in by password on a new device. */
export async function login(url, user, password) {
    const client = sdk.createClient({ baseUrl: url });
    return await client.loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user },
        password,
        initial_device_display_name: "a fresh device",
    });
}

/** Fails unless the server soon says that it does not know `token`. */
export async function requireRefused(url, token) {
    const headers = { Authorization: `Bearer ${token}` };
    const refused = async () => {
        const response = await fetch(`${url}/_matrix/client/v3/account/whoami`, { headers });
        const { errcode } = await response.json();
        if (response.status !== 200) requireEqual([response.status, errcode], [401, "M_UNKNOWN_TOKEN"], "an ended token");
        return response.status !== 200;
    };
    await until("an ended token is refused", refused, 100, TOKEN_END_MILLISECONDS);
}

/** One account on one device. */
export class User {
    #poll = 0;
    #pollStarted = null;
    #pollFinished = 0;
    #keyUploads = 0;
    #arrivals = new Map();
    #flaws = [];

    /** Makes a user from the answer to a registration or a login. */
    constructor(url, session, password) {
        this.url = url;
        this.id = session.user_id;
        this.deviceId = session.device_id;
        this.token = session.access_token;
        this.password = password;
        this.client = sdk.createClient({
            baseUrl: url,
            userId: session.user_id,
            deviceId: session.device_id,
            accessToken: session.access_token,
            timelineSupport: true,
            fetchFn: (resource, options) => this.#fetch(resource, options),
        });
        this.client.on("Room.timeline", (event, room, toStart, removed, data) => {
            if (data.liveEvent) this.#arrivals.set(event.getId(), { event, poll: this.#pollFinished });
        });
    }

    /** Sets up encryption with a store in memory. Before `start`. */
    async enableEncryption() {
        await this.client.initRustCrypto({ useIndexedDB: false });
    }

    /** Starts the library's sync loop, and returns when the initial sync is done. */
    async start(options = {}) {
        await this.client.startClient({ initialSyncLimit: 20, pollTimeout: POLL_MILLISECONDS, ...options });
        await until("the first sync", () => this.client.isInitialSyncComplete());
    }

    stop() {
        this.client.stopClient();
    }

    /** Fails if any request of this user's has been answered with 5xx or not at all. */
    requireNoFlaws() {
        require(this.#flaws.length === 0, `${this.id} met failures on the way: ${this.#flaws.join("; ")}`);
    }

    // -- Rooms and messages --

    /** Creates a room and waits until it has come through `/sync`. */
    async createRoom(options) {
        const { room_id: roomId } = await this.client.createRoom(options);
        await until(`the room ${roomId}`, () => this.client.getRoom(roomId));
        return roomId;
    }

    /** Waits for the invite to come through `/sync`, joins, and waits until `/sync` shows the user as joined. */
    async joinWhenInvited(roomId) {
        await until(`the invite to ${roomId}`, () => this.client.getRoom(roomId)?.getMyMembership() === "invite");
        await this.client.joinRoom(roomId);
        await until(`having joined ${roomId}`, () => this.client.getRoom(roomId)?.getMyMembership() === "join");
    }

    async waitForMember(roomId, userId) {
        const member = () => this.client.getRoom(roomId)?.getMember(userId);
        await until(`${userId} in ${roomId}`, () => member()?.membership === "join");
    }

    /** Sends a text message, encrypted when the room is, and returns its event id. */
    async say(roomId, body) {
        return (await this.client.sendMessage(roomId, { msgtype: "m.text", body })).event_id;
    }

    /** Waits until `/sync` has brought the event; gives it and the number of the poll that brought it. */
    async arrival(eventId) {
        return await until(`event ${eventId} at ${this.id}`, () => this.#arrivals.get(eventId));
    }

    /** Waits until polls have ended with nothing, one after the other. */
    async quiet() {
        const first = this.#poll;
        await until("quiet polls", () => this.#poll >= first + QUIET_POLLS);
    }

    /** Fails if keys were uploaded more often than a client at rest does. */
    requireKeysUploadedAtMost(times) {
        require(this.#keyUploads <= times, `${this.id} has uploaded keys ${this.#keyUploads} times`);
    }

    /** Proves that the event which `send` makes arrives through the poll that waits at this moment. */
    async wokenBy(send) {
        for (let attempt = 0; attempt < WAKE_ATTEMPTS; attempt += 1) {
            const poll = await this.#parked();
            const arrival = await this.arrival(await send());
            if (arrival.poll === poll) return arrival.event;
        }
        throw new Failure(`no poll of ${this.id} that was already waiting brought the message`);
    }

    // -- Watching the requests --

    async #parked() {
        const deadline = Date.now() + WAIT_MILLISECONDS;
        while (Date.now() < deadline) {
            if (this.#pollStarted !== null && Date.now() - this.#pollStarted >= PARKED_MILLISECONDS) return this.#poll;
            await sleep(20);
        }
        throw new Failure(`no poll of ${this.id} was held for ${PARKED_MILLISECONDS} ms`);
    }

    async #fetch(resource, options) {
        const { pathname } = new URL(resource);
        const isPoll = pathname.endsWith("/sync");
        if (pathname.endsWith("/keys/upload")) this.#keyUploads += 1;
        if (isPoll) {
            this.#poll += 1;
            this.#pollStarted = Date.now();
        }
        try {
            const response = await fetch(resource, options);
            if (response.status >= 500) this.#flaws.push(`${response.status} from ${pathname}`);
            return response;
        } catch (error) {
            // A request that the library itself gave up, as it does when it is stopped, is no flaw of the server's.
            if (error.name !== "AbortError") this.#flaws.push(`${error.cause ?? error} from ${pathname}`);
            throw error;
        } finally {
            if (isPoll) {
                this.#pollStarted = null;
                this.#pollFinished = this.#poll;
            }
        }
    }
}
