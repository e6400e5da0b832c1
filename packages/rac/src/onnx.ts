import { mulberry32 } from './random.ts';

/*
 * As much of ONNX as is needed here: a chain of convolutions is written, and the parameters of any graph are counted.
 * Numbers of fields are those of onnx.proto (github.com/onnx/onnx); a protobuf message is a list of (field, wire type, value).
 */

const FLOAT32 = 1;
const IR_VERSION = 8;
const OPSET = 17;

/** A chain of `depth` 3x3 convolutions, `width` channels each, on `resolution` x `resolution`, with a ReLU after each. */
export interface ConvNet {
  width: number;
  depth: number;
  resolution: number;
}

/** Multiply-accumulates of one run: each of the network's layers has 9 a channel in, channel out and pixel. */
export function convNetMacs({ width, depth, resolution }: ConvNet): number {
  return 9 * depth * width * width * resolution * resolution;
}

/** The network as ONNX: `x` (1, width, resolution, resolution) -> `y`, the same. Weights are drawn from `seed`, He et al. 2015. */
export function convNetOnnx({ width, depth, resolution }: ConvNet, seed: number): Uint8Array<ArrayBuffer> {
  const next = mulberry32(seed);
  const spread = Math.sqrt(6 / (9 * width)); // uniform, of the variance 2 / fan-in
  const shape = [1, width, resolution, resolution];
  const nodes: Message[] = [];
  const weights: Message[] = [];
  for (let layer = 0; layer < depth; layer++) {
    const values = Float32Array.from({ length: 9 * width * width }, () => spread * (2 * next() - 1));
    weights.push(tensor(`w${layer}`, [width, width, 3, 3], values));
    nodes.push(
      node('Conv', [layer === 0 ? 'x' : `r${layer - 1}`, `w${layer}`], `c${layer}`, [
        integers('kernel_shape', [3, 3]),
        integers('pads', [1, 1, 1, 1]),
      ]),
      node('Relu', [`c${layer}`], layer === depth - 1 ? 'y' : `r${layer}`, []),
    );
  }
  const graph: Message = [
    ...nodes.map((of): Field => [1, of]),
    [2, `conv-${width}x${depth}-${resolution}`],
    ...weights.map((of): Field => [5, of]),
    [11, valueInfo('x', shape)],
    [12, valueInfo('y', shape)],
  ];
  return serialise([
    [1, IR_VERSION],
    [2, 'raccoon'],
    [7, graph],
    [8, [[2, OPSET]]],
  ]);
}

function tensor(name: string, dims: readonly number[], values: Float32Array<ArrayBuffer>): Message {
  return [
    ...dims.map((of): Field => [1, of]),
    [2, FLOAT32],
    [8, name],
    [9, new Uint8Array(values.buffer)], // little-endian, as every machine that runs Node
  ];
}

function node(
  operator: string,
  inputs: readonly string[],
  output: string,
  attributes: readonly Message[],
): Message {
  return [
    ...inputs.map((of): Field => [1, of]),
    [2, output],
    [4, operator],
    ...attributes.map((of): Field => [5, of]),
  ];
}

function integers(name: string, values: readonly number[]): Message {
  const INTS = 7;
  return [[1, name], ...values.map((of): Field => [8, of]), [20, INTS]];
}

function valueInfo(name: string, shape: readonly number[]): Message {
  const dims = shape.map((of): Field => [1, [[1, of]]]);
  return [
    [1, name],
    [
      2,
      [
        [
          1,
          [
            [1, FLOAT32],
            [2, dims],
          ],
        ],
      ],
    ],
  ];
}

/**
 * The learned numbers of a network: the elements of its initialisers, without scales and zero points of quantised ones.
 * @throws RangeError for bytes that are no protobuf
 */
export function countParameters(onnx: Uint8Array): number {
  const graph = parse(onnx).find(({ field }) => field === 7)?.bytes;
  if (graph === undefined) throw new RangeError('an ONNX file without a graph');
  const steps = new Set<string>();
  const sizes = new Map<string, number>();
  for (const { field, bytes } of parse(graph)) {
    if (field === 1) {
      const inputs = texts(bytes, 1);
      if (/^(Q|Deq)uantizeLinear$/.test(texts(bytes, 4)[0] ?? ''))
        for (const step of inputs.slice(1)) steps.add(step);
    }
    if (field === 5) sizes.set(texts(bytes, 8)[0] ?? '', elements(bytes));
  }
  let sum = 0;
  for (const [name, size] of sizes) if (!steps.has(name)) sum += size;
  return sum;
}

function texts(message: Uint8Array, field: number): string[] {
  return parse(message)
    .filter((of) => of.field === field)
    .map(({ bytes }) => new TextDecoder().decode(bytes));
}

/** Elements of a tensor: the product of its dims, which are packed or not. */
function elements(message: Uint8Array): number {
  let product = 1;
  for (const { field, value, bytes } of parse(message)) {
    if (field !== 1) continue;
    if (bytes.length === 0) product *= value;
    for (let at = { index: 0 }; at.index < bytes.length;) product *= readVarint(bytes, at);
  }
  return product;
}

/** A field's number and its value: an integer, text, bytes or a message. */
type Field = readonly [field: number, value: number | string | Uint8Array | Message];
type Message = readonly Field[];

function serialise(message: Message): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  for (const [field, value] of message) {
    if (typeof value === 'number') {
      parts.push(varint(field << 3), varint(value));
      continue;
    }
    const bytes =
      typeof value === 'string'
        ? new TextEncoder().encode(value)
        : value instanceof Uint8Array
          ? value
          : serialise(value);
    parts.push(varint((field << 3) | 2), varint(bytes.length), bytes);
  }
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Uint8Array.of(...bytes, rest);
}

interface ParsedField {
  readonly field: number;
  /** Of an integer. */
  readonly value: number;
  /** Of anything that has a length. */
  readonly bytes: Uint8Array;
}

const NONE: Uint8Array = new Uint8Array(0);

function parse(message: Uint8Array): ParsedField[] {
  const fields: ParsedField[] = [];
  const at = { index: 0 };
  while (at.index < message.length) {
    const key = readVarint(message, at);
    const field = Math.floor(key / 8);
    switch (key % 8) {
      case 0:
        fields.push({ field, value: readVarint(message, at), bytes: NONE });
        break;
      case 1:
        at.index += 8;
        break;
      case 2: {
        const end = readVarint(message, at) + at.index;
        fields.push({ field, value: 0, bytes: message.subarray(at.index, end) });
        at.index = end;
        break;
      }
      case 5:
        at.index += 4;
        break;
      default:
        throw new RangeError('not a protobuf message');
    }
  }
  return fields;
}

function readVarint(bytes: Uint8Array, at: { index: number }): number {
  let value = 0;
  for (let scale = 1; ; scale *= 128) {
    const byte = bytes[at.index++];
    if (byte === undefined) throw new RangeError('not a protobuf message: it ends within a number');
    value += (byte & 127) * scale;
    if (byte < 128) return value;
  }
}
