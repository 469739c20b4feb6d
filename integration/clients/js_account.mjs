/**
 * What a user does with an account: profile, presence, tags, push rules, devices, cross-signing, key backup,
 * directories. A `talk` is as in `js_conversation.mjs`.
 */

import { freshName, requireRefused } from "./js_user.mjs";
import { require, requireEqual, until } from "./js_steps.mjs";

/** The near-static answers that every client asks for when it starts. */
export async function serverFacts({ client }) {
    const { versions } = await client.getVersions();
    require(versions.includes("v1.11"), `authenticated media needs v1.11; the server has ${versions}`);
    const { flows } = await client.loginFlows();
    require(flows.some((flow) => flow.type === "m.login.password"), "there is no login by password");
    require("m.room_versions" in (await client.getCapabilities()), "the capabilities have no room versions");
    require((await client.getMediaConfig(true))["m.upload.size"] > 0, "the media configuration has no upload size");
}

/** A display name that the other user sees, and a presence that arrives through `/sync`. */
export async function profileAndPresence({ steps, alice, bob, plainRoom }) {
    await steps.step("change the profile", async () => {
        await bob.client.setDisplayName("Bob the Builder");
        await bob.client.setAvatarUrl("mxc://example.org/bob");
        const { displayname, avatar_url: avatar } = await alice.client.getProfileInfo(bob.id);
        requireEqual([displayname, avatar], ["Bob the Builder", "mxc://example.org/bob"], "the profile");
        const room = alice.client.getRoom(plainRoom);
        await until("the new name in the room", () => room.getMember(bob.id).rawDisplayName === "Bob the Builder");
    });
    await steps.step("presence is seen", async () => {
        await bob.client.setPresence({ presence: "online", status_msg: "building" });
        await until("the presence", () => alice.client.getUser(bob.id)?.presenceStatusMsg === "building");
        requireEqual((await alice.client.getPresence(bob.id)).status_msg, "building", "the status message");
    });
}

/** Room tags, room account data and global account data: written, seen through `/sync`, read back. */
export async function accountData({ steps, alice, plainRoom }) {
    const { client } = alice;
    const room = client.getRoom(plainRoom);
    await steps.step("tag a room", async () => {
        await client.setRoomTag(plainRoom, "m.favourite", { order: 0.5 });
        await until("the tag", () => room.tags["m.favourite"]?.order === 0.5);
        requireEqual((await client.getRoomTags(plainRoom)).tags, { "m.favourite": { order: 0.5 } }, "the tags");
    });
    await steps.step("room account data", async () => {
        await client.setRoomAccountData(plainRoom, "org.example.room", { kept: "room" });
        await until("the account data", () => room.getAccountData("org.example.room")?.getContent().kept === "room");
    });
    await steps.step("global account data", async () => {
        // The library itself waits here until the data comes back through `/sync`.
        await client.setAccountData("org.example.global", { kept: "global" });
        requireEqual(client.getAccountData("org.example.global")?.getContent(), { kept: "global" }, "the account data");
    });
}

/** A push rule is written, seen through `/sync`, read and deleted. */
export async function pushRules({ steps, alice }) {
    const { client } = alice;
    const find = (rules) => rules?.global?.content?.find((rule) => rule.rule_id === "proxy-word");
    await steps.step("write and read a push rule", async () => {
        await client.addPushRule("global", "content", "proxy-word", { actions: ["notify"], pattern: "proxy" });
        await until("the push rule", () => find(client.pushRules));
        const rule = find(await client.getPushRules());
        requireEqual([rule?.pattern, rule?.actions], ["proxy", ["notify"]], "the push rule");
    });
    await steps.step("delete a push rule", async () => {
        await client.deletePushRule("global", "content", "proxy-word");
        await until("the push rule's end", () => !find(client.pushRules));
        require(!find(await client.getPushRules()), "the deleted push rule is still there");
    });
}

/** The user directory, the directory of public rooms, and a room alias. */
export async function directories({ steps, alice, bob }) {
    await steps.step("find a user in the directory", async () => {
        const term = bob.id.slice(1).split(":")[0];
        const search = async () => (await alice.client.searchUserDirectory({ term })).results;
        await until("the user", async () => (await search()).some((user) => user.user_id === bob.id), 250);
    });
    await steps.step("publish a room, find it, resolve its alias, join by it, leave", async () => {
        const name = freshName("market");
        const options = { visibility: "public", preset: "public_chat", room_alias_name: name, name: `Market ${name}` };
        const roomId = await alice.createRoom(options);
        const list = async () => (await bob.client.publicRooms({ limit: 10, filter: { generic_search_term: name } })).chunk;
        // Synapse lists what its statistics know, which follow the room in the background.
        await until("the room in the directory", async () => (await list()).some((room) => room.room_id === roomId), 250);
        const alias = `#${name}:${alice.id.slice(alice.id.indexOf(":") + 1)}`;
        requireEqual((await bob.client.getRoomIdForAlias(alias)).room_id, roomId, "the alias");
        await bob.client.joinRoom(alias);
        await alice.waitForMember(roomId, bob.id);
        await bob.client.leave(roomId);
        await until("the leaving", () => alice.client.getRoom(roomId).getMember(bob.id).membership === "leave");
    });
}

/** A to-device message of an unknown type arrives at the one device that it names. */
export async function toDevice({ steps, alice, bob }) {
    await steps.step("a to-device message is seen", async () => {
        const seen = [];
        bob.client.on("receivedToDeviceMessage", ({ message }) => seen.push(message));
        const content = new Map([[bob.id, new Map([[bob.deviceId, { number: 1 }]])]]);
        await alice.client.sendToDevice("org.example.ping", content);
        const message = await until("the message", () => seen.find(({ type }) => type === "org.example.ping"));
        requireEqual([message.sender, message.content.number], [alice.id, 1], "the message");
    });
}

/** Cross-signing keys are uploaded, and a key backup is made. The library fills it in its own time. */
export async function makeKeys({ steps, alice }) {
    const crypto = alice.client.getCrypto();
    await steps.step("set up cross-signing", async () => {
        await crypto.bootstrapCrossSigning({
            authUploadDeviceSigningKeys: (upload) => withPassword(alice, upload),
        });
        require(await crypto.userHasCrossSigningKeys(alice.id, true), "the server does not give the keys back");
    });
    await steps.step("make a key backup", async () => {
        requireEqual(await crypto.getKeyBackupInfo(), null, "the backup before there is one");
        await crypto.resetKeyBackup();
        requireEqual((await backupVersion(alice)).version, await crypto.getActiveSessionBackupVersion(), "the version");
    });
}

/** The backup has got the room keys, and is deleted. */
export async function readKeyBackup({ steps, alice }) {
    await steps.step("the key backup is filled, read and deleted", async () => {
        const { version } = await until(
            "the room keys",
            async () => {
                const backup = await backupVersion(alice);
                return backup.count > 0 && backup;
            },
            250,
        );
        await alice.client.getCrypto().deleteKeyBackupVersion(version);
        const error = await backupVersion(alice).catch((refusal) => refusal);
        requireEqual([error.httpStatus, error.errcode], [404, "M_NOT_FOUND"], "the backup after its deletion");
    });
}

/** What the server says of the newest backup. The library's own method for this answers from memory. */
async function backupVersion({ client }) {
    return await client.http.authedRequest("GET", "/room_keys/version");
}

/** The device list; another device is renamed, then deleted with a password, which ends its access token. */
export async function devices({ steps, alice }, other) {
    const { client } = alice;
    await steps.step("list and rename devices", async () => {
        await client.setDeviceDetails(other.deviceId, { display_name: "renamed" });
        const names = (await client.getDevices()).devices.map((device) => [device.device_id, device.display_name]);
        const expected = [
            [alice.deviceId, "a fresh device"],
            [other.deviceId, "renamed"],
        ];
        requireEqual(names.sort(), expected.sort(), "the devices");
    });
    await steps.step("delete a device with a password, and its token with it", async () => {
        await withPassword(alice, (auth) => client.deleteMultipleDevices([other.deviceId], auth ?? undefined));
        const left = (await client.getDevices()).devices.map((device) => device.device_id);
        requireEqual(left, [alice.deviceId], "the devices left");
        await requireRefused(alice.url, other.token);
    });
}

/** Makes a request that may ask for the password (user-interactive authentication), and gives it when asked. */
async function withPassword(user, request) {
    try {
        return await request(null);
    } catch (error) {
        if (error.httpStatus !== 401 || !error.data?.session) throw error;
        return await request({
            type: "m.login.password",
            identifier: { type: "m.id.user", user: user.id },
            password: user.password,
            session: error.data.session,
        });
    }
}
