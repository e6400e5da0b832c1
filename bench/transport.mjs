// What our messages cost beyond gRPC itself: round trips per second of 1.5 kB requests over 4 streams, through this
// transport and through a bare grpc-js echo of as many bytes, client and server each in a process of its own, in turns.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { connectGrpc, serveGrpc } from '@raccoon/transport/node';
import { median } from './median.mjs';

const ROUNDS = 7;
const ROUND_MS = 1000;
const STREAMS = 4;
const IN_FLIGHT = 32; // of one stream
const REQUEST_BYTES = 1500;
const ANSWER_BYTES = 85; // five classes

const raw = { requestSerialize: (b) => b, requestDeserialize: (b) => b };
const echo = {
  path: '/bench.Echo/Echo',
  requestStream: true,
  responseStream: true,
  ...raw,
  responseSerialize: (b) => b,
  responseDeserialize: (b) => b,
};

if (process.argv[2] === 'serve') await serve();
else await compare();

async function serve() {
  const bare = new Server({ 'grpc.enable_channelz': 0 });
  const answer = Buffer.alloc(ANSWER_BYTES, 7);
  bare.addService(
    { echo },
    { echo: (call) => call.on('data', () => call.write(answer)).on('end', () => call.end()) },
  );
  const barePort = await new Promise((resolve, reject) => {
    bare.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    );
  });
  const top = Array.from({ length: 5 }, (_, i) => ({
    index: 100 + i,
    probability: 0.5 / (i + 1),
    logit: 3 - i,
  }));
  const service = {
    hello: ({ codecIds }) => ({ protocol: 1, codecIds, bundle: 'bench', bundleVersion: '1' }),
    infer: async ({ id }) => ({
      id,
      result: { top, margin: 0.25 },
      queueMs: 1,
      decodeMs: 1,
      inferMs: 1,
      bundleVersion: '1',
    }),
  };
  const ours = await serveGrpc(service, { listen: '127.0.0.1:0' });
  process.on('message', () => process.send({ cpu: process.cpuUsage() }));
  process.on('disconnect', () => process.exit());
  process.send({ barePort, ourPort: ours.port });
}

async function compare() {
  const server = fork(new URL(import.meta.url), ['serve']);
  const [{ barePort, ourPort }] = await once(server, 'message');
  const payload = Buffer.alloc(REQUEST_BYTES, 3);
  const cpu = async () => {
    server.send({});
    const [{ cpu: theirs }] = await once(server, 'message');
    return {
      server: theirs.user + theirs.system,
      client: process.cpuUsage().user + process.cpuUsage().system,
    };
  };

  const client = new Client(`127.0.0.1:${barePort}`, credentials.createInsecure(), {
    'grpc.enable_channelz': 0,
  });
  const bareStreams = Array.from({ length: STREAMS }, () =>
    client.makeBidiStreamRequest(echo.path, echo.requestSerialize, echo.responseDeserialize),
  );
  for (const stream of bareStreams) stream.on('error', () => {}); // at the end
  async function bare(until) {
    const counts = bareStreams.map(
      (stream) =>
        new Promise((resolve) => {
          let done = 0;
          let flying = 0;
          const send = () => {
            flying++;
            stream.write(payload);
          };
          const received = () => {
            done++;
            flying--;
            if (performance.now() < until) send();
            else if (flying === 0) {
              stream.off('data', received);
              resolve(done);
            }
          };
          stream.on('data', received);
          for (let i = 0; i < IN_FLIGHT; i++) send();
        }),
    );
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }

  const transport = connectGrpc(`127.0.0.1:${ourPort}`);
  const hello = { protocolMin: 1, protocolMax: 1, codecIds: ['0123456789ab'], client: 'bench' };
  const streams = [];
  for (let i = 0; i < STREAMS; i++) streams.push({ stream: await transport.openStream(hello), id: 0 });
  async function ours(until) {
    const counts = streams.map(async (one) => {
      const { stream } = one;
      let flying = 0;
      let done = 0;
      const send = () => {
        flying++;
        one.id++;
        void stream.send({ id: one.id, payload, topK: 5, timeoutMs: 1000 });
      };
      for (let i = 0; i < IN_FLIGHT; i++) send();
      for await (const response of stream.responses) {
        if (!response.result) throw new Error(response.error.message);
        done++;
        flying--;
        if (performance.now() < until) send();
        else if (flying === 0) return done;
      }
      return done;
    });
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }

  async function measure(run) {
    const before = await cpu();
    const start = performance.now();
    const count = await run(start + ROUND_MS);
    const ms = performance.now() - start;
    const after = await cpu();
    return {
      rate: (1000 * count) / ms,
      client: (after.client - before.client) / count,
      server: (after.server - before.server) / count,
    };
  }

  const rows = { 'grpc-js': [], transport: [] };
  await measure(bare);
  await measure(ours);
  for (let round = 0; round < ROUNDS; round++) {
    rows['grpc-js'].push(await measure(bare));
    rows.transport.push(await measure(ours));
  }
  console.log(
    `transport: round trips of ${REQUEST_BYTES} bytes over ${STREAMS} streams, ${IN_FLIGHT} in flight on each`,
  );
  const of = (name, key) => median(rows[name].map((row) => row[key]));
  for (const name of Object.keys(rows)) {
    console.log(
      `  ${name.padEnd(10)} ${of(name, 'rate').toFixed(0).padStart(7)}/s   processor time of each: ` +
        `client ${of(name, 'client').toFixed(0)} us, server ${of(name, 'server').toFixed(0)} us`,
    );
  }
  const ratios = rows.transport.map(({ rate }, i) => rate / rows['grpc-js'][i].rate);
  console.log(`  ${(100 * median(ratios)).toFixed(0)} % of grpc-js's rate`);
  for (const { stream } of streams) stream.end();
  for (const stream of bareStreams) stream.end();
  await transport.close();
  client.close();
  server.disconnect();
}
