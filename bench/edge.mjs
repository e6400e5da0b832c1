// One photo on the edge, stage by stage, for every depth n of the shipped encoder.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openEdge } from '@raccoon/edge/node';
import { median } from './median.mjs';

const ROUNDS = 5;
const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));

const photos = readdirSync(path('samples')).filter((name) => name.endsWith('.jpg'));
const edge = await openEdge(path('bundles/imagenet1k-mobilenet'));
const { name, version, points, defaultPoint } = edge.bundle.manifest;
const { q } = points[defaultPoint];

console.log(
  `edge: ${name} ${version}, q=${q}, ${photos.length} sample photos, ${ROUNDS} times; medians in ms`,
);
const rows = {};
for (const [point, { n, q: rate, edgeMacs }] of points.entries()) {
  if (rate !== q) continue;
  await edge.encode(path(`samples/${photos[0]}`), point); // loads the encoder
  const encoded = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const photo of photos) encoded.push(await edge.encode(path(`samples/${photo}`), point));
  }
  const stage = (key) => median(encoded.map((image) => image[key])).toFixed(2);
  rows[`n=${n}`] = {
    MMAC: (edgeMacs / 1e6).toFixed(0),
    image: stage('imageMs'),
    encoder: stage('encoderMs'),
    codec: stage('codecMs'),
    bytes: Math.round(median(encoded.map(({ bytes }) => bytes))),
  };
}
await edge.close();
console.table(rows);
