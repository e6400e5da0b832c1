// What every arm of a bandit says of photos as they are and under noise, recorded once through the real edge and cloud.
import { openBundle } from '@raccoon/bundle/node';
import { openService } from '@raccoon/cloud';
import { localAnswer } from '@raccoon/edge';
import { openEdge, readPixels } from '@raccoon/edge/node';
import { listImageFolder, samplePhotos } from '@raccoon/rac';
import { random } from '../helpers/random.mjs';

/**
 * @param sigmas deviations of the noise on pixels in [0, 1]
 * @param rate level q; the arms are every n at it
 * @returns {sigmas, points, photos: [{photo, label, answers: [by sigma]: [by arm] {bytes, exit, exitRight, cloud, cloudRight}}], encodeMs: by n}
 */
export async function record({ data, count, sigmas, rate }, onProgress) {
  const bundle = await openBundle('imagenet1k-mobilenet');
  const { manifest } = bundle;
  const arms = manifest.points.flatMap(({ q, precision }, p) =>
    q === rate && precision !== 'int8' ? [p] : [],
  );
  const photos = samplePhotos(await listImageFolder(data), count);
  const labels = new Map(manifest.classes.map(({ wnid }, k) => [wnid, k]));
  const edge = await openEdge(bundle);
  const cloud = await openService({ bundle });
  const times = new Map();
  const rows = [];
  let id = 0;
  try {
    for (const [i, { path, wnid }] of photos.entries()) {
      const pixels = await readPixels(path, manifest.input);
      const label = labels.get(wnid);
      const answers = [];
      for (const sigma of sigmas) {
        const image = noisy(pixels, sigma, random(i + 1), manifest.input);
        const seen = new Map();
        const encoded = [];
        for (const p of arms) {
          const { n } = manifest.points[p];
          if (!seen.has(n)) {
            const analysed = await edge.analyse(image, { n, precision: 'float32' }, { exit: true });
            seen.set(n, analysed);
            times.set(n, [...(times.get(n) ?? []), analysed.encoderMs]);
          }
          encoded.push(edge.code(seen.get(n), p));
        }
        const responses = await Promise.all(
          encoded.map(({ slices }) =>
            cloud.service.infer({ id: ++id, payload: slices[0], topK: 1 }, context()),
          ),
        );
        for (const { error } of responses) if (error) throw new Error(error.message);
        answers.push(
          responses.map(({ result }, k) => {
            const { n } = manifest.points[arms[k]];
            const exit = localAnswer(seen.get(n).exitLogits, 1, 1);
            return {
              bytes: encoded[k].bytes,
              exit: exit.confidence,
              margin: exit.margin,
              exitRight: exit.top[0] === label,
              cloud: result.top[0].probability,
              cloudRight: result.top[0].index === label,
            };
          }),
        );
      }
      rows.push({ photo: `${wnid}/${i}`, label, answers });
      onProgress(i + 1);
    }
  } finally {
    await edge.close();
    await cloud.close();
  }
  const encodeMs = Object.fromEntries(
    [...times].map(([n, all]) => [n, all.toSorted((a, b) => a - b)[all.length >> 1]]),
  );
  return { bundle: manifest.name, version: manifest.version, sigmas, points: arms, encodeMs, photos: rows };
}

const context = () => ({ signal: new AbortController().signal, peer: 'local', caller: { name: 'local' } });

/** Zero-mean Gaussian noise (Box and Muller 1958) on 8-bit RGB, clipped. */
function noisy(pixels, sigma, draw, { width, height }) {
  const data = Uint8Array.from(pixels, (value) => {
    const normal = Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
    return Math.min(255, Math.max(0, Math.round(value + 255 * sigma * normal)));
  });
  return { data, width, height };
}
