// Runs the native peers on one case, each in a process of its own, one after the other.
// node bench/thirdparty/run.mjs case.json: sets up, runs, prints JSON.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cache, here, python, rygFor, setUp, versionOf, whyMissing } from './setup.mjs';

/**
 * Photos of `channels * plane` symbols, channel-major, with one table per channel, none of them an escape.
 * @typedef {object} Case
 * @property {string} name
 * @property {number} photos
 * @property {number} channels
 * @property {number} plane symbols per channel, h * w
 * @property {number[]} offsets [channels] the symbol of entry 0
 * @property {number[][]} frequencies [channels][entries] each sums to 65536; the last entry is the escape
 * @property {string} symbols (photos, channels, plane), base64 of int16, little-endian
 */

/**
 * @typedef {object} PeerResult
 * @property {string} name
 * @property {string} version
 * @property {number} encodeMsMedian for all photos of the case
 * @property {number} decodeMsMedian for all photos of the case
 * @property {number} bytes of all streams, one a photo
 * @property {string} note how it was used
 */

/**
 * @typedef {object} MissingPeer
 * @property {string} name
 * @property {string} missing why, and what to do about it, in one line
 */

const RYG_RUNS = 101;
const TIME_LIMIT_MS = 120_000;
/** Streams this much larger or smaller than their information were not coded with the case's tables. `bytes`: a photo. */
const SIZE_TOLERANCE = { relative: 0.005, bytes: 32 };

const PEERS = [
  {
    id: 'ryg',
    name: 'ryg_rans64 x2',
    version: () => `rans64.h in compressai ${versionOf('compressai')}`,
    run: ({ frequencies }, flat) =>
      execute(rygFor(Math.max(...frequencies.map((row) => row.length))), [], flat),
  },
  {
    id: 'compressai',
    name: 'CompressAI',
    version: () => versionOf('compressai'),
    run: (_, __, casePath) => execute(python, [join(here, 'compressai_peer.py'), casePath]),
  },
  {
    id: 'constriction',
    name: 'constriction',
    version: () => versionOf('constriction'),
    run: (_, __, casePath) => execute(python, [join(here, 'constriction_peer.py'), casePath]),
  },
];

/**
 * Times every peer that `setUp` could prepare. A peer that is missing, fails or does not come back with the symbols is
 * a `MissingPeer`. Throws for a case that is not as described.
 * @param {string} casePath a JSON file with a `Case`
 * @returns {Promise<(PeerResult | MissingPeer)[]>}
 */
export async function runPeers(casePath) {
  const given = JSON.parse(readFileSync(casePath, 'utf8'));
  const symbols = symbolsOf(given);
  const flat = flatten(given, symbols);
  const ideal = idealBytes(given, symbols);

  const results = [];
  for (const { id, name, version, run } of PEERS) {
    let missing = whyMissing(id);
    if (missing === undefined) {
      try {
        const measured = JSON.parse(await run(given, flat, casePath));
        if (
          Math.abs(measured.bytes - ideal) >
          given.photos * SIZE_TOLERANCE.bytes + SIZE_TOLERANCE.relative * ideal
        ) {
          throw new Error(
            `${measured.bytes} bytes for ${Math.round(ideal)} bytes of information: other tables?`,
          );
        }
        results.push({ name, version: version(), ...measured });
      } catch (error) {
        missing = `${error.message}; remove ${cache} and set up again`;
      }
    }
    if (missing !== undefined) results.push({ name, missing });
  }
  return results;
}

/** The symbols of a case, every one in its table and none an escape. */
function symbolsOf({ photos, channels, plane, offsets, frequencies, symbols }) {
  const bytes = Buffer.from(symbols, 'base64');
  if (
    offsets.length !== channels ||
    frequencies.length !== channels ||
    bytes.length !== 2 * photos * channels * plane
  ) {
    throw new Error(
      `the case must have ${channels} offsets, as many tables, and ${photos} x ${channels} x ${plane} int16`,
    );
  }
  for (const [channel, row] of frequencies.entries()) {
    if (
      row.reduce((sum, frequency) => sum + frequency, 0) !== 65536 ||
      row.some((frequency) => frequency < 1)
    ) {
      throw new Error(`the frequencies of channel ${channel} must be positive and sum to 65536`);
    }
  }
  return Int16Array.from({ length: photos * channels * plane }, (_, i) => {
    const symbol = bytes.readInt16LE(2 * i);
    const channel = Math.floor(i / plane) % channels;
    const entry = symbol - offsets[channel];
    if (entry < 0 || entry >= frequencies[channel].length - 1) {
      throw new Error(
        `symbol ${i} (${symbol}) is not in the table of channel ${channel}: peers have no escapes`,
      );
    }
    return symbol;
  });
}

/** The information in the symbols, with their tables. */
function idealBytes({ channels, plane, offsets, frequencies }, symbols) {
  let bits = 0;
  for (const [i, symbol] of symbols.entries()) {
    const channel = Math.floor(i / plane) % channels;
    bits += 16 - Math.log2(frequencies[channel][symbol - offsets[channel]]);
  }
  return bits / 8;
}

/** The case as ryg.c reads it. */
function flatten({ photos, channels, plane, offsets, frequencies }, symbols) {
  const tables = frequencies.flatMap((row, channel) => [offsets[channel], row.length, ...row]);
  const head = Int32Array.of(photos, channels, plane, RYG_RUNS, ...tables);
  return Buffer.concat([Buffer.from(head.buffer), Buffer.from(symbols.buffer)]);
}

/** Standard output of a command, or an error with the last line that it wrote to standard error. */
function execute(command, args, input = '') {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { timeout: TIME_LIMIT_MS });
    const output = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr']) {
      child[stream].setEncoding('utf8').on('data', (chunk) => {
        output[stream] += chunk;
      });
    }
    child.on('error', reject);
    child.on('close', (status, signal) => {
      if (status === 0) resolve(output.stdout);
      else
        reject(
          new Error(output.stderr.trim().split('\n').at(-1) || `ended by ${signal ?? `status ${status}`}`),
        );
    });
    child.stdin.on('error', () => {}); // a child that ends early says why itself
    child.stdin.end(input);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [casePath] = process.argv.slice(2);
  if (casePath === undefined) {
    console.error('usage: node bench/thirdparty/run.mjs case.json');
    process.exit(2);
  }
  setUp();
  console.log(JSON.stringify(await runPeers(casePath), null, 2));
}
