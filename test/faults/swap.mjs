import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeBitstream } from '@raccoon/codec';
import { openBundle } from '@raccoon/bundle/node';
import { temporaryFolder } from '../helpers/payloads.mjs';
import { Service } from '../helpers/service.mjs';
import { mean, median } from '../helpers/statistics.mjs';
import { TINY, tinyPayloads, writeTinyBundle } from '../helpers/tiny-bundle.mjs';
import { Traffic } from '../helpers/traffic.mjs';

export const about = `A new version of a bundle under load: no request fails, and every answer is of one complete version.
The version scales its decoder and its classifier by its own number, so the logits of a mixture are those of no version. The
answer names its version, and the logits are held against it.`;

export const options = {
  swaps: { default: 50, about: 'new versions, one after the other' },
  concurrency: { default: 32, about: 'requests at any time' },
  short: { default: false, about: 'three versions' },
};

/** Within this time a new version answers, s. */
const PATIENCE = 60;

export async function run({ swaps, concurrency, short }, report) {
  const times = short ? 3 : swaps;
  const repository = temporaryFolder();
  const publish = (number) =>
    writeTinyBundle(repository, {
      version: versionOf(number),
      scale: number + 1,
      folder: `${TINY}-${number}`,
    });
  let folder = await publish(0);
  const bundle = await openBundle(folder);
  const payloads = tinyPayloads(bundle, 64);
  const means = payloads.map((payload) => colourMeans(payload, bundle));
  const service = await Service.start(['--model-repository', repository, '--workers', '2']);
  const check = ({ top, bundleVersion }, at) => {
    const scale = Number(bundleVersion.split('.')[2]) + 1;
    for (const { index, logit } of top) {
      const expected = means[at][index] * scale ** 2;
      if (Math.abs(logit - expected) > 1e-3 * Math.max(1, Math.abs(expected))) {
        throw new Error(`version ${bundleVersion} answers ${logit} where it should say ${expected}`);
      }
    }
  };
  // nothing may have to be sent twice
  const traffic = await Traffic.start([service.address], {
    bundle,
    payloads,
    concurrency,
    check,
    reconnect: false,
  });

  const seconds = [];
  for (let number = 1; number <= times; number++) {
    const published = performance.now();
    const next = await publish(number);
    while (!traffic.versions[versionOf(number)]) {
      if (performance.now() - published > 1000 * PATIENCE) {
        throw new Error(
          `version ${versionOf(number)} does not answer after ${PATIENCE} s:\n${service.stderr}`,
        );
      }
      await sleep(20);
    }
    seconds.push((performance.now() - published) / 1000);
    rmSync(folder, { recursive: true });
    folder = next;
  }
  await sleep(200);
  await traffic.stop();
  const code = await service.stop();

  for (const failure of traffic.failures) report.note(failure);
  report.table(`${times} swaps, ${concurrency} requests at any time`, {
    requests: traffic.codes,
    'seconds until a version answers': { median: median(seconds), max: Math.max(...seconds) },
    'answers of a version': {
      versions: Object.keys(traffic.versions).length,
      median: median(Object.values(traffic.versions)),
    },
  });
  report.bar('requests that failed, or whose answer is of no version', traffic.failed, '=', 0);
  report.bar('versions that answered', Object.keys(traffic.versions).length, '=', times + 1);
  report.bar('exit code', code, '=', 0);
}

const versionOf = (number) => `1.0.${number}`;

/** Means of the symbols of each channel: the logits at scale 1. */
function colourMeans(payload, { codecs, manifest }) {
  const { symbols, h, w } = decodeBitstream([payload], codecs);
  return Array.from({ length: manifest.latent.channels }, (_, c) =>
    mean(symbols.subarray(c * h * w, (c + 1) * h * w)),
  );
}
