import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openBundle } from '@raccoon/bundle/node';
import { quantise } from '@raccoon/codec';
import { toTensor } from '@raccoon/edge';
import { openEdge, readPixels } from '@raccoon/edge/node';
import { loadUnsplit, topClasses } from '@raccoon/rac';
import { describe, expect, test } from 'vitest';
import { root, sample, shippedBundle, temporaryFolder } from '../helpers/paths.ts';

// The files of a bundle are plain ONNX: Python with onnxruntime and numpy, and nothing of ours, runs them to the same end.

const python = join(root, 'packages/training/.venv/bin/python');
const missing = !existsSync(python);
if (missing) console.warn(`skipped: ${python} is not there; npx nx run training:setup makes it`);

describe.skipIf(missing)('the shipped bundle in Python’s onnxruntime', () => {
  test('every file loads; encoders give the edge’s latents, decoder and classifier the label', async () => {
    const folder = temporaryFolder();
    const bundle = await openBundle(shippedBundle);
    const { manifest, codec } = bundle;
    const photo = sample('hen.jpg');
    const tensor = toTensor(await readPixels(photo, manifest.input), manifest.input);
    writeFileSync(join(folder, 'tensor.f32'), tensor);
    const edge = await openEdge(bundle, { threads: 1 });
    // the highest rate of every encoder
    const points = manifest.points.flatMap(({ encoder }, p) =>
      manifest.points.slice(p + 1).some((later) => later.encoder === encoder) ? [] : [p],
    );
    const encoded = new Map<number, Int16Array>();
    for (const p of points) encoded.set(p, (await edge.encode(photo, p)).symbols);
    await edge.close();
    for (const [p, symbols] of encoded) writeFileSync(join(folder, `${p}.i16`), symbols);

    const script = join(root, 'test/e2e/run-bundle.py');
    const printed = execFileSync(python, [script, shippedBundle, folder], { encoding: 'utf8' });
    const answers = JSON.parse(printed) as { points: Record<string, number>; unsplit: number };

    const hen = manifest.classes.findIndex(({ name }) => name === 'hen');
    expect(new Set(Object.values(answers.points))).toEqual(new Set([hen]));
    expect(Object.keys(answers.points)).toHaveLength(points.length);
    const unsplit = await loadUnsplit(bundle, 1);
    const plane = manifest.latent.height * manifest.latent.width;
    expect(answers.unsplit).toBe(topClasses(await unsplit.run(tensor), 1)[0]);
    for (const p of points) {
      const { encoder, precision } = manifest.points[p]!;
      const bytes = readFileSync(join(folder, `${encoder}.f32`));
      const latent = new Float32Array(new Uint8Array(bytes).buffer);
      const symbols = quantise(latent, plane, p, codec.tables);
      const other = symbols.filter((symbol, i) => symbol !== encoded.get(p)![i]).length / symbols.length;
      // another build of the runtime adds in another order: a value between two symbols may fall to the other side
      expect(other, encoder).toBeLessThan(precision === 'int8' ? 0.02 : 0.001);
    }
  });
});
