// A bundle that costs next to nothing: 432 symbols an image, networks of two nodes. What is left to measure is the service.
import { createHash } from 'node:crypto';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codecId, encodeBitstream, serialiseTables } from '@raccoon/codec';
import { RansTables } from '@raccoon/rans-coder';
import { field, varint } from './protobuf.mjs';
import { random } from './random.mjs';

export const TINY = 'tiny-colours';

/** C, h, w: one channel a colour. The image is twice as high and wide. */
const latent = { channels: 3, height: 12, width: 12 };
const LATENT_SPACE_ID = '7261636f6f6e2074696e7920636f6c73';
/** Symbols are uniform in -LARGEST ... LARGEST: 7.6 bits each, and nothing that the coder could skip. */
const LARGEST = 100;

/**
 * Writes the bundle into `parent`/`folder`, complete from the moment that it has this name.
 * A logit is the mean of its colour's symbols times `scale` squared: `scale` once in the decoder and once in the classifier, so
 * that an answer of one version's decoder and another's classifier has logits of neither.
 */
export async function writeTinyBundle(parent, { version = '1.0.0', scale = 1, folder = TINY } = {}) {
  const cells = latent.channels;
  const tables = serialiseTables({
    points: 1,
    channels: cells,
    gain: new Float32Array(cells).fill(LARGEST),
    median: new Float32Array(cells),
    tableOf: new Uint16Array(cells),
    tables: RansTables.fromFrequencies([uniform()]),
  });
  const contents = {
    'tables.bin': tables,
    'encoder.onnx': encoder(),
    'decoder.onnx': decoder(scale),
    'classifier.onnx': classifier(scale),
  };
  const files = Object.fromEntries(
    Object.entries(contents).map(([name, bytes]) => [
      name,
      { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') },
    ]),
  );
  const { channels, height, width } = latent;
  const manifest = {
    format: 'raccoon-bundle',
    formatVersion: 0,
    name: TINY,
    version,
    licence: 'Apache-2.0',
    description: 'red, green or blue: for load tests',
    provenance: {},
    latentSpaceId: LATENT_SPACE_ID,
    codecs: [{ id: await codecId(tables, LATENT_SPACE_ID), tables: 'tables.bin' }],
    input: {
      width: 2 * width,
      height: 2 * height,
      shortSide: 2 * height,
      filter: 'bilinear-antialias',
      mean: [127.5, 127.5, 127.5],
      std: [127.5, 127.5, 127.5],
    },
    latent,
    features: latent,
    points: [
      { n: 0, q: 0, encoder: 'encoder.onnx', edgeMacs: 12 * channels * height * width, expectedBpp: 5.8 },
    ],
    defaultPoint: 0,
    decoder: { file: 'decoder.onnx', macs: channels * height * width },
    classifier: { file: 'classifier.onnx', macs: channels * height * width },
    classes: ['red', 'green', 'blue'].map((name) => ({ wnid: '', name })),
    files,
  };
  const half = join(parent, `.${folder}.half`);
  mkdirSync(half, { recursive: true });
  for (const [name, bytes] of Object.entries(contents)) writeFileSync(join(half, name), bytes);
  writeFileSync(join(half, 'manifest.json'), JSON.stringify(manifest));
  renameSync(half, join(parent, folder));
  return join(parent, folder);
}

/** `count` random images as bitstreams. */
export function tinyPayloads(bundle, count, seed = 1) {
  const next = random(seed);
  const { channels, height: h, width: w } = latent;
  return Array.from({ length: count }, () => {
    const symbols = Int16Array.from({ length: channels * h * w }, () =>
      Math.round((2 * next() - 1) * LARGEST),
    );
    return encodeBitstream(symbols, { h, w }, 0, bundle.codec)[0];
  });
}

function uniform() {
  const count = 2 * LARGEST + 1;
  const frequencies = [...Array.from({ length: count }, () => Math.floor(65_535 / count)), 0];
  frequencies[count] = 65_536 - frequencies.reduce((a, b) => a + b); // the escape has the rest
  return { offset: -LARGEST, frequencies };
}

// ---- ONNX (onnx.proto's field numbers) ----

const FLOAT = 1;
const INT16 = 5;
const INT64 = 7;

/** tensor (1, 3, 24, 24) -> latent (1, 3, 12, 12): the mean of each 2 x 2 pixels. */
function encoder() {
  const { channels, height, width } = latent;
  return model({
    inputs: [value('tensor', FLOAT, [1, channels, 2 * height, 2 * width])],
    outputs: [value('latent', FLOAT, [1, channels, height, width])],
    nodes: [
      node('AveragePool', ['tensor'], 'latent', [ints('kernel_shape', [2, 2]), ints('strides', [2, 2])]),
    ],
    constants: [],
  });
}

/** symbols (B, C, h, w) int16 -> features (B, C, h, w): `scale` times the symbols. */
function decoder(scale) {
  const { channels, height, width } = latent;
  const shape = ['batch', channels, height, width];
  return model({
    inputs: [value('symbols', INT16, shape), value('point', INT64, ['batch'])],
    outputs: [value('features', FLOAT, shape)],
    nodes: [
      node('Cast', ['symbols'], 'values', [int('to', FLOAT)]),
      node('Mul', ['values', 'scale'], 'features'),
    ],
    constants: [scalar('scale', scale)],
  });
}

/** features (B, C, h, w) -> logits (B, C): `scale` times a channel's mean. */
function classifier(scale) {
  const { channels, height, width } = latent;
  return model({
    inputs: [value('features', FLOAT, ['batch', channels, height, width])],
    outputs: [value('logits', FLOAT, ['batch', channels])],
    nodes: [
      node('GlobalAveragePool', ['features'], 'means'),
      node('Flatten', ['means'], 'flat'),
      node('Mul', ['flat', 'scale'], 'logits'),
    ],
    constants: [scalar('scale', scale)],
  });
}

function model({ inputs, outputs, nodes, constants }) {
  const graph = [
    ...nodes.map((bytes) => field(1, bytes)),
    field(2, 'graph'),
    ...constants.map((bytes) => field(5, bytes)),
    ...inputs.map((bytes) => field(11, bytes)),
    ...outputs.map((bytes) => field(12, bytes)),
  ];
  const opset = Buffer.concat([field(1, ''), varint(2, 13)]);
  return Buffer.concat([varint(1, 7), field(7, Buffer.concat(graph)), field(8, opset)]);
}

function node(type, inputs, output, attributes = []) {
  return Buffer.concat([
    ...inputs.map((name) => field(1, name)),
    field(2, output),
    field(4, type),
    ...attributes.map((bytes) => field(5, bytes)),
  ]);
}

function int(name, number) {
  return Buffer.concat([field(1, name), varint(3, number), varint(20, 2)]);
}

function ints(name, numbers) {
  return Buffer.concat([field(1, name), ...numbers.map((number) => varint(8, number)), varint(20, 7)]);
}

function value(name, type, shape) {
  const dims = shape.map((size) => field(1, typeof size === 'string' ? field(2, size) : varint(1, size)));
  const tensor = Buffer.concat([varint(1, type), field(2, Buffer.concat(dims))]);
  return Buffer.concat([field(1, name), field(2, field(1, tensor))]);
}

function scalar(name, number) {
  const data = Buffer.alloc(4);
  data.writeFloatLE(number);
  return Buffer.concat([varint(2, FLOAT), field(8, name), field(9, data)]);
}
