import { setTimeout as sleep } from 'node:timers/promises';
import { connect, isFailure } from '@raccoon/client';
import { colours, shippedPhotos } from '../helpers/images.mjs';
import { freePort, Service } from '../helpers/service.mjs';
import { quantile } from '../helpers/statistics.mjs';

export const about = `The only cloud is killed (kill -9) and started again, over and over: every image is answered exactly once.
A camera gives images all the time; the client is the one that programs use, with its own settings. No local exit: an answer
comes from the cloud or not at all. Answers are held against those of a cloud that nobody kills.`;

export const options = {
  seconds: { default: 120, about: 'of killing' },
  every: { default: 5, about: 'seconds from one kill to the next' },
  rate: { default: 20, about: 'images a second' },
  bundle: { default: 'shipped', about: 'shipped or tiny' },
  short: { default: false, about: 'six seconds of the tiny bundle, a kill every two' },
};

export async function run({ seconds, every, rate, bundle, short }, report) {
  const { folder, images } = await (short || bundle === 'tiny' ? colours() : shippedPhotos());
  const listen = `127.0.0.1:${await freePort()}`;
  const start = () => Service.start(['--bundle', folder, '--workers', '1'], { listen });
  let service = await start();
  const client = await connect({ cloud: listen, bundle: folder, threads: 1, topK: 3, maxInFlight: 16 });
  const expected = [];
  for (const image of images) expected.push((await client.classify(image)).top);

  const resent = {};
  client.events.on('resent', ({ code }) => (resent[code] = (resent[code] ?? 0) + 1));

  const watch = new AbortController();
  let shown = 0;
  async function* camera() {
    const from = performance.now();
    while (!watch.signal.aborted) {
      yield images[shown++ % images.length];
      await sleep(Math.max(0, from + (1000 * shown) / rate - performance.now()));
    }
  }

  const outcomes = new Map(); // index -> how often
  const wrong = new Set();
  const codes = {};
  const times = [];
  const watching = (async () => {
    for await (const outcome of client.classify(camera())) {
      const { index } = outcome;
      outcomes.set(index, (outcomes.get(index) ?? 0) + 1);
      const code = isFailure(outcome) ? (outcome.error.code ?? outcome.error.name) : outcome.source;
      codes[code] = (codes[code] ?? 0) + 1;
      if (isFailure(outcome)) report.note(`image ${index}: ${outcome.error.message}`);
      else {
        times.push(outcome.totalMs);
        if (differs(outcome.top, expected[index % images.length])) wrong.add(index);
      }
    }
  })();

  const [duration, period] = short ? [6, 2] : [seconds, every];
  const downMs = [];
  const begin = performance.now();
  for (let kills = 1; kills * period <= duration; kills++) {
    await sleep(Math.max(0, begin + 1000 * period * kills - performance.now()));
    const killed = performance.now();
    service.kill('SIGKILL');
    await service.ended;
    service = await start();
    downMs.push(performance.now() - killed);
  }
  watch.abort();
  await watching;
  await client.close();
  const exitCode = await service.stop();

  const answered = codes.cloud ?? 0;
  report.table(`killed ${downMs.length} times, every ${period} s, ${rate} images a second`, {
    'images, by who answered': codes,
    'sent again, by why': resent,
    'seconds without a cloud': { median: quantile(downMs, 0.5) / 1000, max: Math.max(...downMs) / 1000 },
    'ms to the answer': { p50: quantile(times, 0.5), p99: quantile(times, 0.99), max: Math.max(...times) },
  });
  report.bar(
    'images without exactly one outcome',
    shown - [...outcomes.values()].filter((n) => n === 1).length,
    '=',
    0,
  );
  report.bar('images lost', shown - answered, '=', 0);
  report.bar('answers that are wrong', wrong.size, '=', 0);
  report.bar(
    'images that were in flight when it was killed',
    Object.values(resent).reduce((a, b) => a + b, 0),
    '>=',
    1,
  );
  report.bar('kills', downMs.length, '>=', Math.floor(duration / period));
  report.bar('exit code', exitCode, '=', 0);
}

/** Another first class, or another probability than what a batch's company may move. */
const differs = ([first], [wanted]) =>
  first.index !== wanted.index || Math.abs(first.probability - wanted.probability) > 1e-3;
