// What every photo becomes at every operating point, once, through the real edge, codec and cloud: the simulator's tables.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { openService } from '@raccoon/cloud';
import { openEdge, readPixels } from '@raccoon/edge/node';
import { encodeJpeg, listImageFolder, loadUnsplit, samplePhotos, topClasses } from '@raccoon/rac';
import { root } from '../helpers/report.mjs';

export const JPEG_QUALITIES = [10, 20, 40, 60];

/** The cloud's first classes that are kept: as many as a client asks for that adds them to the local exit's (CASCADE_CLASSES). */
const CLASSES = 20;

/**
 * The recording of a class-balanced sample of `count` photos, made at the first call and kept under results/ (in .gitignore):
 * - photos: `wnid/name`; labels
 * - points: [{ point, n, q, bytes, cloudMs, top }], float32; bytes of the bitstream and ms in the cloud, one entry a photo; top: Float32Array
 *   (photos, 20, 3), the cloud's first classes: index, logit, probability
 * - exits: [{ n, edgeMs, logits }]; ms of image, network and coding at q = 2; logits: the local exit's, Float32Array (photos, classes)
 * - jpegs: [{ quality, bytes, edgeMs, top }], the unsplit network's first class; whole: { edgeMs, top }, the same without JPEG
 */
export async function recording(bundle, data, count, onProgress) {
  const { name, version } = bundle.manifest;
  const folder = join(root, 'results/links', `${name}-${version}-${count}`);
  const tables = join(folder, 'tables.json');
  if (!existsSync(tables)) {
    mkdirSync(folder, { recursive: true });
    const made = await record(bundle, data, count, onProgress);
    for (const { n, logits } of made.exits) writeFileSync(join(folder, `exit-n${n}.f32`), logits);
    for (const { point, top } of made.points) writeFileSync(join(folder, `top-${point}.f32`), top);
    writeFileSync(
      `${tables}.part`,
      JSON.stringify(made, (key, value) => (ArrayBuffer.isView(value) ? undefined : value)),
    );
    renameSync(`${tables}.part`, tables);
  }
  const kept = JSON.parse(readFileSync(tables, 'utf8'));
  return {
    ...kept,
    points: kept.points.map((row) => ({ ...row, top: floats(join(folder, `top-${row.point}.f32`)) })),
    exits: kept.exits.map((row) => ({ ...row, logits: floats(join(folder, `exit-n${row.n}.f32`)) })),
  };
}

function floats(file) {
  const { buffer, byteOffset, byteLength } = readFileSync(file);
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
}

async function record(bundle, data, count, onProgress) {
  const { manifest } = bundle;
  const { input } = manifest;
  const photos = samplePhotos(await listImageFolder(data), count);
  const classOf = new Map(manifest.classes.map(({ wnid }, i) => [wnid, i]));
  const labels = photos.map(({ wnid }) => classOf.get(wnid));
  const points = manifest.points.flatMap(({ n, q, precision = 'float32' }, point) =>
    precision === 'float32'
      ? [{ point, n, q, bytes: [], cloudMs: [], top: new Float32Array(3 * CLASSES * photos.length) }]
      : [],
  );
  const depths = [...new Set(points.map(({ n }) => n))];
  const exits = depths.map((n) => ({
    n,
    logits: new Float32Array(photos.length * manifest.classes.length),
    edgeMs: [],
  }));
  const jpegs = JPEG_QUALITIES.map((quality) => ({ quality, bytes: [], top: [], edgeMs: [] }));
  const whole = { top: [], edgeMs: [] };

  const edge = await openEdge(bundle, { threads: 1 });
  const cloud = await openService({ bundle });
  const unsplit = await loadUnsplit(bundle, 1);
  const { signal } = new AbortController();
  const context = { signal, peer: 'local', caller: { name: 'local' } };

  async function recordPhoto(path, i) {
    for (const exit of exits) {
      const analysed = await edge.analyse(path, { n: exit.n, precision: 'float32' }, { exit: true });
      exit.logits.set(analysed.exitLogits, i * manifest.classes.length);
      const rows = points.filter(({ n }) => n === exit.n);
      const coded = rows.map(({ point }) => edge.code(analysed, point));
      exit.edgeMs[i] = round(analysed.imageMs + analysed.encoderMs + coded[2].codecMs);
      const answers = await Promise.all(
        coded.map(({ slices }, id) =>
          cloud.service.infer({ id, payload: slices[0], topK: CLASSES }, context),
        ),
      );
      for (const [k, row] of rows.entries()) {
        const { error, result, decodeMs, inferMs } = answers[k];
        if (error) throw new Error(`${path}: ${error.message}`);
        row.bytes[i] = coded[k].bytes;
        row.cloudMs[i] = round((decodeMs + inferMs) / coded.length);
        const top = result.top.flatMap(({ index, logit, probability }) => [index, logit, probability]);
        row.top.set(top, 3 * CLASSES * i);
      }
    }
    const pixels = await readPixels(path, input);
    const start = performance.now();
    [whole.top[i]] = topClasses(await unsplit.classify(path), 1);
    whole.edgeMs[i] = round(performance.now() - start);
    for (const row of jpegs) {
      const from = performance.now();
      const { jpeg } = await encodeJpeg(pixels, input.width, input.height, row.quality);
      row.edgeMs[i] = round(performance.now() - from);
      row.bytes[i] = jpeg.length;
      [row.top[i]] = topClasses(await unsplit.classify(jpeg), 1);
    }
  }

  let next = 0;
  let done = 0;
  const take = async () => {
    while (next < photos.length) {
      const i = next++;
      await recordPhoto(photos[i].path, i);
      onProgress(++done, photos.length);
    }
  };
  try {
    await Promise.all(Array.from({ length: 3 }, take)); // one is in the cloud while another is encoded
  } finally {
    await Promise.all([edge.close(), cloud.close(), unsplit.release()]);
  }
  return {
    photos: photos.map(({ path, wnid }) => `${wnid}/${basename(path)}`),
    labels,
    points,
    exits,
    jpegs,
    whole,
  };
}

const round = (value) => Number(value.toFixed(4));
