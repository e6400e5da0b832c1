import { createHash } from 'node:crypto';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseManifest, type Manifest } from '@raccoon/bundle';
import { shippedBundle, temporaryFolder } from './paths.ts';
import { field, varint } from './protobuf.mjs';

/** The output that `bundleWithExit` adds. */
export const EXIT_OUTPUT = 'test_exit';

/** A copy of the shipped bundle whose encoders have a local exit that always says `logits` (K), changed by `edit`. */
export function bundleWithExit(logits: Float32Array, edit: (manifest: Manifest) => void): string {
  const folder = join(temporaryFolder(), 'bundles/with-exit');
  cpSync(shippedBundle, folder, { recursive: true });
  const file = join(folder, 'manifest.json');
  const manifest = parseManifest(readFileSync(file, 'utf8'), folder);
  for (const encoder of new Set(manifest.points.map((point) => point.encoder))) {
    const onnx = Buffer.concat([readFileSync(join(folder, encoder)), exitGraph(logits)]);
    writeFileSync(join(folder, encoder), onnx);
    const sha256 = createHash('sha256').update(onnx).digest('hex');
    manifest.files[encoder] = { bytes: onnx.length, sha256 };
  }
  manifest.exit = { output: EXIT_OUTPUT };
  edit(manifest);
  writeFileSync(file, JSON.stringify(manifest));
  return folder;
}

/**
 * An ONNX model's part with one constant, one node and one output. A protobuf message and more fields behind it are
 * one message, so appending this to a model's file adds them to its graph (onnx.proto, field numbers).
 */
function exitGraph(logits: Float32Array): Buffer {
  const name = 'test_exit_constant';
  const values = Buffer.from(logits.buffer, logits.byteOffset, logits.byteLength);
  const dims = [varint(1, 1), varint(1, logits.length)];
  const float = varint(2, 1);
  const initializer = Buffer.concat([...dims, float, field(8, name), field(9, values)]);
  const node = Buffer.concat([field(1, name), field(2, EXIT_OUTPUT), field(4, 'Identity')]);
  const type = field(1, varint(1, 1));
  const output = Buffer.concat([field(1, EXIT_OUTPUT), field(2, type)]);
  return field(7, Buffer.concat([field(1, node), field(5, initializer), field(12, output)]));
}
