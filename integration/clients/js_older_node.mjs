/**
 * What matrix-js-sdk 43 takes for granted of Node 22, made for Node 20 and for Debian 12's Node 18. Imported before it.
 */

import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;

Promise.withResolvers ??= function () {
    const parts = {};
    parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
    return parts;
};
