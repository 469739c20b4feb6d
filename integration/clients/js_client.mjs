/**
 * Proves that matrix-js-sdk, the library of Element Web, works on a homeserver's client API, with its Rust encryption.
 *
 *     node js_client.mjs --url http://127.0.0.1:8080
 *
 * Two users register, log in, talk in a plain and in an encrypted room through real `/sync` long-polls, use most of
 * what a client uses, and log out. Every step prints `ok STEP`; the last line is `N steps passed`. Any failure is
 * explained on stderr and ends the program with exit code 1. For an https URL with an authority of one's own, set
 * NODE_EXTRA_CA_CERTS. What the homeserver must allow is written in README.md beside this file.
 */

import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import * as account from "./js_account.mjs";
import * as conversation from "./js_conversation.mjs";
import { require, requireEqual, runProgram } from "./js_steps.mjs";
import { freshName, login, register, requireRefused, User } from "./js_user.mjs";

const { values } = parseArgs({ options: { url: { type: "string" }, password: { type: "string" } } });
if (!values.url) {
    console.error("usage: js_client.mjs --url URL [--password PASSWORD]");
    process.exit(1);
}
const url = values.url.replace(/\/+$/, "");
const password = values.password ?? randomBytes(12).toString("hex");

await runProgram(async (steps) => {
    const { alice, bob, registered } = await enter(steps);
    const talk = { steps, alice, bob, ...(await conversation.openRooms(steps, alice, bob)) };
    await conversation.plainMessages(talk);
    await conversation.encryptedMessages(talk);
    await conversation.afterQuiet(talk);
    await account.makeKeys(talk);
    await conversation.changesToMessages(talk);
    await conversation.receiptsAndTyping(talk);
    await conversation.media(talk);
    await conversation.history(talk, registered);
    await account.profileAndPresence(talk);
    await account.accountData(talk);
    await account.pushRules(talk);
    await account.directories(talk);
    await account.toDevice(talk);
    await account.readKeyBackup(talk);
    registered.stop();
    await account.devices(talk, registered);
    await leave(talk);
});

/** Registers two users and logs each in on a fresh device. Alice's registering device stays as her second one. */
async function enter(steps) {
    const [aliceName, bobName] = [freshName("alice"), freshName("bob")];
    const registered = await steps.step("register two users", async () => {
        await register(url, bobName, password);
        return new User(url, await register(url, aliceName, password), password);
    });
    const [alice, bob] = await steps.step("log in by password on fresh devices", async () => {
        const users = [];
        for (const name of [aliceName, bobName]) users.push(new User(url, await login(url, name, password), password));
        require(users[0].deviceId !== registered.deviceId, "the login did not make a new device");
        return users;
    });
    await steps.step("a wrong password is refused", async () => {
        const error = await login(url, aliceName, `${password} but wrong`).catch((refusal) => refusal);
        requireEqual([error.httpStatus, error.errcode], [403, "M_FORBIDDEN"], "the refusal");
    });
    await steps.step("versions, login flows, capabilities, media configuration", () => account.serverFacts(alice));
    await steps.step("the first sync, and the upload of device keys", async () => {
        for (const user of [alice, bob]) {
            await user.enableEncryption();
            await user.start();
        }
    });
    return { alice, bob, registered };
}

/** Logs both users out while their polls are open, as a client does. */
async function leave({ steps, alice, bob }) {
    await steps.step("no request failed on the way", () => {
        for (const user of [alice, bob]) user.requireNoFlaws();
    });
    await steps.step("log out, and the tokens are refused", async () => {
        for (const user of [alice, bob]) {
            requireEqual((await user.client.whoami()).user_id, user.id, "the owner of the token");
            await user.client.logout(true);
            await requireRefused(url, user.token);
        }
    });
}
