// Signs readings with the device's key and prints each COSE_Sign1 as a line of hexadecimal.
//
// Every argument is a reading; without one there is a reading of its own. Who checks a signature learns from its claims
// which device and which component said so, and as what: the context `reading/v1`. After the argument `--log` the last
// line is a log of all the readings, signed by its digest as `log/v1`.

import { Message, open } from "countersign:device/signing@0.1.0";
import { getArguments } from "wasi:cli/environment@0.2.12";
import { getStderr } from "wasi:cli/stderr@0.2.12";
import { getStdout } from "wasi:cli/stdout@0.2.12";

// The names by which component.toml asks for the key and its contexts.
const KEY = "telemetry";
const READING = "reading/v1";
const LOG = "log/v1";

const DEFAULT_READING = "temperature=21.5";

// What a stream takes in one call (wasi:io/streams).
const MOST_BYTES = 4096;

export const run = {
  run() {
    // The first argument is the program's own name.
    const [, ...readings] = getArguments();
    const log = readings[0] === "--log";
    if (log) {
      readings.shift();
    }
    try {
      signAll(readings.length > 0 ? readings : [DEFAULT_READING], log);
    } catch (error) {
      print(getStderr(), variant(error));
      throw undefined;
    }
  },
};

function signAll(readings, log) {
  const key = open(KEY);
  for (const reading of readings) {
    print(getStdout(), hex(key.sign(READING, utf8(reading))));
  }
  if (log) {
    print(getStdout(), hex(signLog(key, readings)));
  }
}

// Signs all readings, a line for each, by their digest.
function signLog(key, readings) {
  const message = key.begin(LOG);
  for (const reading of readings) {
    message.write(utf8(`${reading}\n`));
  }
  return Message.finish(message);
}

// The error's name as the interface spells it. What a call refuses arrives as the payload of an exception.
function variant(error) {
  const { tag, val } = error.payload ?? { tag: String(error) };
  return tag === "quota-exceeded" ? `${tag}: try again in ${val} ms` : tag;
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The engine has no console.
function print(stream, line) {
  const bytes = utf8(`${line}\n`);
  for (let at = 0; at < bytes.length; at += MOST_BYTES) {
    stream.blockingWriteAndFlush(bytes.slice(at, at + MOST_BYTES));
  }
}

// Nor has it a TextEncoder: encodeURIComponent writes every byte that is not plain ASCII as %XX.
function utf8(text) {
  const units = encodeURIComponent(text).match(/%..|./g) ?? [];
  return Uint8Array.from(units, (unit) =>
    unit.length === 1 ? unit.charCodeAt(0) : parseInt(unit.slice(1), 16),
  );
}
