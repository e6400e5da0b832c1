// One photo on the edge, stage by stage, for every depth n and precision of the shipped encoder.
// node bench/edge.mjs [bundle]
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openEdge } from '@raccoon/edge/node';
import { median } from './median.mjs';

const ROUNDS = 5;
const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));

const photos = readdirSync(path('samples')).filter((name) => name.endsWith('.jpg'));
const bundle = process.argv[2] ?? path('bundles/imagenet1k-mobilenet');

for (const threads of [1, 2]) {
  const edge = await openEdge(bundle, { threads });
  const { name, version, points, defaultPoint } = edge.bundle.manifest;
  const { q } = points[defaultPoint];
  const measured = [...points.entries()]
    .filter(([, { q: rate }]) => rate === q)
    .map(([point, operating]) => ({ point, operating, encoded: [] }));
  for (const { point } of measured) await edge.encode(path(`samples/${photos[0]}`), point); // loads the encoder
  for (let round = 0; round < ROUNDS; round++) {
    for (const photo of photos) {
      // one after the other on every photo: whatever else the machine does hits all of them
      for (const { point, encoded } of measured) {
        encoded.push(await edge.encode(path(`samples/${photo}`), point));
      }
    }
  }
  await edge.close();

  console.log(
    `edge: ${name} ${version}, q=${q}, ${threads} thread(s), ${photos.length} sample photos, ${ROUNDS} times; medians in ms`,
  );
  const rows = {};
  for (const { operating, encoded } of measured) {
    const { n, precision = 'float32', edgeMacs } = operating;
    const stage = (key) => median(encoded.map((image) => image[key])).toFixed(2);
    rows[`n=${n} ${precision}`] = {
      MMAC: (edgeMacs / 1e6).toFixed(0),
      image: stage('imageMs'),
      encoder: stage('encoderMs'),
      codec: stage('codecMs'),
      bytes: Math.round(median(encoded.map(({ bytes }) => bytes))),
    };
  }
  console.table(rows);
}
