// A child process of hostile.mjs. Says 'ready', is told how to behave, says 'at it' when the clock may run, and in the end what
// it was answered and what processor time it took.
import { createConnection } from 'node:net';
import { constants } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { HEADER_BYTES } from '@raccoon/codec';
import { codeOf, openLanes } from '../helpers/lane.mjs';
import { openLoop } from '../helpers/load.mjs';
import { random } from '../helpers/random.mjs';
import { framed, helloBytes, openSession, openStream, requestBytes } from '../helpers/wire.mjs';

/**
 * name -> what it does for `seconds`; resolves with { code: answers }. What only has to be there calls `standing` when it is: what
 * it costs to get there is over then.
 */
const BEHAVIOURS = {
  'slow readers': slowReaders,
  'half-open connections': halfOpen,
  'idle streams': idleStreams,
  'oversized messages': oversized,
  'garbage frames': garbageFrames,
  'garbage messages': garbageMessages,
  'corrupt payloads': corruptPayloads,
  'wrong codec ids': wrongCodecs,
  'reset storm': resetStorm,
};
const STANDING = new Set(['slow readers', 'half-open connections', 'idle streams']);

process.once('message', ({ behaviour, ...given }) => {
  if (!STANDING.has(behaviour)) standing();
  const before = process.cpuUsage();
  void BEHAVIOURS[behaviour](given).then((answers) => {
    const { user, system } = process.cpuUsage(before);
    process.send({ answers, processorSeconds: (user + system) / 1e6 }, () => process.exit());
  });
});
process.send('ready');

function standing() {
  process.send('at it');
}

/** Ask for all they may, with logits, and read not one byte: no window for the answers. */
async function slowReaders({ address, payloads, seconds, settle }) {
  const sessions = Array.from({ length: 20 }, () => openSession(address, { initialWindowSize: 0 }));
  for (const session of sessions) {
    const stream = openStream(session);
    stream.write(framed(helloBytes()));
    for (let id = 1; id <= 4; id++) {
      stream.write(framed(requestBytes(id, payloads[id % payloads.length], { wantLogits: true })));
    }
  }
  await sleep(1000 * settle); // the images are classified by now, and their answers wait
  standing();
  await sleep(1000 * seconds);
  for (const session of sessions) session.destroy();
  return { asked: 4 * sessions.length };
}

/** A connection and silence; half of HTTP/2's preface and silence; a preface and silence. */
async function halfOpen({ address, seconds }) {
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  const starts = [Buffer.alloc(0), preface.subarray(0, 12), preface];
  const sockets = Array.from({ length: 150 }, (_, i) => {
    const socket = dial(address);
    socket.write(starts[i % starts.length]);
    return socket;
  });
  await sleep(500);
  standing();
  await sleep(1000 * seconds);
  for (const socket of sockets) socket.destroy();
  return { connections: sockets.length };
}

/** Streams that say Hello and nothing more. */
async function idleStreams({ address, seconds }) {
  const sessions = Array.from({ length: 10 }, () => openSession(address));
  let welcome = 0;
  let refused = 0;
  for (let i = 0; i < 1000; i++) {
    const stream = openStream(sessions[i % sessions.length]);
    stream.once('data', () => welcome++);
    stream.once('close', () => refused++);
    stream.write(framed(helloBytes()));
    if (i % 100 === 99) await sleep(50);
  }
  await sleep(500);
  standing();
  await sleep(1000 * seconds);
  const answers = { welcome, refused };
  for (const session of sessions) session.destroy();
  return answers;
}

/** Payloads just above the limit, which are read and refused, and messages that gRPC does not even read. */
async function oversized({ address, seconds, maxPayloadBytes, rate = 20 }) {
  const above = Buffer.alloc(maxPayloadBytes + 1);
  const huge = Buffer.alloc(16 * 2 ** 20);
  const session = openSession(address);
  const answers = {};
  await every(rate, seconds, async (i) => {
    const bytes = i % 10 === 9 ? huge : above;
    const stream = openStream(session);
    stream.write(framed(helloBytes()));
    stream.write(framed(requestBytes(1, bytes)));
    count(answers, await answerOf(stream));
    stream.close(constants.NGHTTP2_CANCEL);
  });
  session.destroy();
  return answers;
}

/** Bytes that are not HTTP/2, from the first on or after the preface. */
async function garbageFrames({ address, seconds, rate = 50 }) {
  const next = random(7);
  let connections = 0;
  await every(rate, seconds, async (i) => {
    const noise = Buffer.from(Array.from({ length: 512 }, () => Math.floor(256 * next())));
    const socket = dial(address);
    if (i % 2) socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    socket.write(noise);
    await Promise.race([new Promise((resolve) => socket.once('close', resolve)), sleep(200)]);
    socket.destroy();
    connections++;
  });
  return { connections };
}

/** A stream as it should be, whose messages are not protobuf: each is answered. */
async function garbageMessages({ address, seconds, rate = 50 }) {
  const session = openSession(address);
  const stream = openStream(session);
  const answers = {};
  // every answer is one frame here, and each has its code as text
  stream.on('data', (bytes) => {
    const found = bytes.toString('latin1').match(/bad-request/g)?.length ?? 0;
    if (found) answers['bad-request'] = (answers['bad-request'] ?? 0) + found;
  });
  stream.write(framed(helloBytes()));
  let sent = 0;
  await every(rate, seconds, async () => {
    stream.write(framed(Buffer.from([0xff, 0xff, 0xff, 0xff])));
    sent++;
  });
  await sleep(500);
  session.destroy();
  return { ...answers, sent };
}

/** One bit of the bitstream, behind the header, is another one. */
function corruptPayloads({ payloads, ...given }) {
  const damaged = payloads.map((payload, i) => {
    const copy = Uint8Array.from(payload);
    const at = HEADER_BYTES + ((17 * i) % (copy.length - HEADER_BYTES));
    copy[at] ^= 1 << (i % 8);
    return copy;
  });
  return asked(damaged, given);
}

/** Tables that the cloud does not have. */
function wrongCodecs({ foreign, ...given }) {
  return asked(foreign, given);
}

/** Streams that are reset as soon as they have asked: HTTP/2's rapid reset. */
async function resetStorm({ address, payloads, seconds, rate = 300 }) {
  let session = openSession(address);
  let resets = 0;
  await every(rate, seconds, async (i) => {
    if (session.closed || session.destroyed) session = openSession(address);
    const stream = openStream(session);
    stream.write(framed(helloBytes()));
    stream.write(framed(requestBytes(1, payloads[i % payloads.length])));
    setImmediate(() => stream.close(constants.NGHTTP2_CANCEL));
    resets++;
  });
  session.destroy();
  return { resets };
}

async function asked(payloads, { address, seconds, share }) {
  const { lanes, close } = await openLanes(address, 2);
  const { codes } = await openLoop(lanes, payloads, { rate: share, seconds, seed: 11 });
  await close();
  return codes;
}

/** The code in the first answer but Welcome, or in the trailers of a stream that failed. */
function answerOf(stream) {
  const pattern = /payload-too-large|bad-request/;
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve('none'), 5000);
    const done = (code) => {
      clearTimeout(timer);
      resolve(code);
    };
    stream.on('data', (bytes) => {
      const [code] = pattern.exec(bytes.toString('latin1')) ?? [];
      if (code) done(code);
    });
    stream.on('trailers', (headers) =>
      done(headers['raccoon-code'] ?? `grpc-status ${headers['grpc-status']}`),
    );
    stream.on('close', () => done('closed'));
  });
}

/** `act`, `rate` times a second, without waiting for it. */
async function every(rate, seconds, act) {
  const acts = [];
  const start = performance.now();
  for (let i = 0; i < rate * seconds; i++) {
    const wait = start + (1000 * i) / rate - performance.now();
    if (wait > 1) await sleep(wait);
    acts.push(act(i).catch((error) => codeOf(error)));
  }
  await Promise.all(acts);
}

function dial(address) {
  const [host, port] = address.split(':');
  const socket = createConnection({ host, port: Number(port) });
  socket.on('error', () => undefined);
  socket.on('data', () => undefined);
  return socket;
}

function count(counts, key) {
  counts[key] = (counts[key] ?? 0) + 1;
}
