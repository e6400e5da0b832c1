import { setTimeout as sleep } from 'node:timers/promises';
import { Edge, fleet } from '../helpers/fleet.mjs';

export const about = `Three replicas, balanced by the clients: one is asked to leave, then one is killed (kill -9), over and over, under load.
Clients keep a stream to each replica. What a replica refuses because it leaves, or loses, goes to another one under the
client's own number. Workers sleep for a batch of images as long as a network would take.`;

export const options = {
  rounds: { default: 20, about: 'of one SIGTERM and one kill -9 each' },
  clients: { default: 3, about: 'each with a stream to every replica' },
  concurrency: { default: 8, about: 'images under way at any time, of each client' },
  short: { default: false, about: 'two rounds' },
};

const TIME = { batchMs: 10, imageMs: 5 };
/** Within this time the one that came back last is used again, s. */
const PATIENCE = 20;

export async function run({ rounds, clients, concurrency, short }, report) {
  const { replicas, folder, payloads } = await fleet(3, TIME, ['--drain-seconds', '20', '--max-batch', '8']);
  for (const replica of replicas) await replica.start();
  const cloud = replicas.map(({ address }) => address);
  const edges = [];
  for (let i = 0; i < clients; i++) edges.push(await Edge.connect({ cloud, bundle: folder }, payloads));
  for (const edge of edges) edge.loop(concurrency);

  const before = () => ({ answered: total(edges, 'answered'), resent: sentAgain(edges) });
  const rows = { SIGTERM: none(), SIGKILL: none() };
  const exitCodes = [];
  const times = short ? 2 : rounds;
  for (let round = 0; round < times; round++) {
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      const replica = replicas[(2 * round + (signal === 'SIGKILL' ? 1 : 0)) % 3];
      await sleep(300 + 37 * round); // another moment of a batch each time
      const then = before();
      replica.service.kill(signal);
      const code = await replica.service.ended;
      if (signal === 'SIGTERM') exitCodes.push(code);
      await sleep(500);
      const now = before();
      const row = rows[signal];
      row.answered += now.answered - then.answered;
      for (const [why, count] of Object.entries(now.resent)) row[why] += count - (then.resent[why] ?? 0);
      await replica.start();
    }
  }
  const used = [0, 0, 0];
  for (const end = performance.now() + 1000 * PATIENCE; used.includes(0) && performance.now() < end;) {
    await sleep(100);
    for (const [i, replica] of replicas.entries()) used[i] += await replica.answered();
  }
  for (const edge of edges) await edge.stop();
  for (const { service } of replicas) exitCodes.push(await service.stop());

  const failures = edges.flatMap((edge) => edge.failures);
  for (const failure of new Set(failures)) report.note(failure);
  report.table(`${times} times each, ${clients} clients with ${concurrency} images under way`, rows);
  report.note(`images of each replica since it was last started: ${used.join(', ')}`);
  report.bar('images that failed, or whose answer was another one', failures.length, '=', 0);
  report.bar('lost by a replica that left in good order', rows.SIGTERM.unavailable, '=', 0);
  report.bar(
    'times that an image was sent, at most',
    Math.max(...edges.map((edge) => edge.mostSends)),
    '<=',
    2,
  );
  report.bar('images that were under way when a replica was killed', rows.SIGKILL.unavailable, '>=', times);
  report.bar('images answered', total(edges, 'answered'), '>=', 40 * times);
  report.bar('replicas that came back and were used', used.filter((count) => count > 0).length, '=', 3);
  report.bar('exit codes that are not 0', exitCodes.filter((code) => code !== 0).length, '=', 0);
}

const none = () => ({ answered: 0, draining: 0, unavailable: 0 });

function total(edges, what) {
  return edges.reduce((sum, edge) => sum + edge[what], 0);
}

/** By why, of all edges. */
function sentAgain(edges) {
  const sums = { draining: 0, unavailable: 0 };
  for (const { resent } of edges)
    for (const why of Object.keys(resent)) sums[why] = (sums[why] ?? 0) + resent[why];
  return sums;
}
