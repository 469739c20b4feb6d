/**
 * Named steps, bounded waits and the exit code, as `steps.py` has them for the Python programs.
 *
 * A step prints one line `ok NAME` when its body ends. The first failure ends the program: its step and reason go to
 * stderr and the exit code is 1.
 */

import { isDeepStrictEqual } from "node:util";

/** The longest that one awaited thing (a message, a receipt, a directory entry) may take to appear. */
export const WAIT_MILLISECONDS = 20_000;

/** The longest that the whole program may take. A hang anywhere becomes a failure that names its step. */
const PROGRAM_MILLISECONDS = 120_000;

/** Something was not as the Matrix specification says; the message is the reason shown to the reader. */
export class Failure extends Error {}

/** Counts the steps that passed, and remembers which one is under way. */
export class Steps {
    passed = 0;
    current = "start";

    /** Runs `body` as the step `name`, reports the step when it succeeds, and returns what the body returned. */
    async step(name, body) {
        this.current = name;
        const result = await body();
        this.passed += 1;
        console.log(`ok ${name}`);
        return result;
    }
}

/** Fails with `reason` unless `condition` holds. */
export function require(condition, reason) {
    if (!condition) throw new Failure(reason);
}

/** Fails unless `got` and `expected` have the same structure and values. */
export function requireEqual(got, expected, what) {
    const same = isDeepStrictEqual(got, expected);
    require(same, `${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`);
}

export function sleep(milliseconds) {
    return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Repeats `check` until it gives something truthy, and returns that. */
export async function until(description, check, pause = 20, within = WAIT_MILLISECONDS) {
    const deadline = Date.now() + within;
    for (;;) {
        const result = await check();
        if (result) return result;
        require(Date.now() < deadline, `${description}: not within ${within / 1000} s`);
        await sleep(pause);
    }
}

/** Runs `program` inside the overall time limit, and ends the process with its exit code. */
export async function runProgram(program) {
    const steps = new Steps();
    const fail = (error) => {
        const reason = error instanceof Failure ? error.message : (error?.stack ?? String(error));
        process.stderr.write(`failed ${steps.current}: ${reason}\n`, () => process.exit(1));
    };
    // The library's background work must not fail unseen.
    process.on("unhandledRejection", fail);
    const limit = new Failure(`the program took longer than ${PROGRAM_MILLISECONDS / 1000} s`);
    setTimeout(() => fail(limit), PROGRAM_MILLISECONDS).unref();
    try {
        await program(steps);
    } catch (error) {
        fail(error);
        return;
    }
    // Timers of the library may still be pending, so the process is ended rather than left to run out.
    process.stdout.write(`${steps.passed} steps passed\n`, () => process.exit(0));
}
