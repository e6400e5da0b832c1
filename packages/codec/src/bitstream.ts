import { RansError, decode, encode } from '@raccoon/rans-coder';
import type { Runs } from '@raccoon/rans-coder';
import type { Codec } from './codec.ts';
import { CodecError } from './errors.ts';
import {
  HEADER_BYTES,
  LATER_HEADER_BYTES,
  VERSION,
  readHeader,
  readLaterHeader,
  writeFirstSlice,
  writeLaterSlice,
} from './header.ts';
import { DEFAULT_LIMITS, MAX_SIDE, MAX_SLICES } from './limits.ts';
import type { Limits } from './limits.ts';
import { checkPoint } from './quantise.ts';
import type { CodecTables } from './tables.ts';

/** Height and width of a latent, 1 to 255 each. */
export interface Shape {
  readonly h: number;
  readonly w: number;
}

export interface EncodeOptions {
  /** The end (exclusive) of each slice's channels, rising, the last one C. 1 to 4 slices; default `[C]`. */
  readonly channelEnds?: readonly number[];
}

/** What a bitstream says. */
export interface DecodedBitstream {
  readonly codec: Codec;
  /** Operating point. */
  readonly point: number;
  readonly h: number;
  readonly w: number;
  /** Channels that the slices held; the symbols of the others are 0. */
  readonly channels: number;
  /** (C, h, w) */
  readonly symbols: Int16Array<ArrayBuffer>;
}

/**
 * symbols (C, h, w) at operating point `point` -> slices.
 * Throws `CodecError` 'point-range', 'shape-range', 'shape-mismatch' or 'channel-range'.
 */
export function encodeBitstream(
  symbols: Int16Array,
  shape: Shape,
  point: number,
  codec: Codec,
  options: EncodeOptions = {},
): Uint8Array<ArrayBuffer>[] {
  const { tables } = codec;
  const { h, w } = shape;
  checkPoint(point, tables);
  checkShape(symbols, shape, tables);
  const channelEnds = options.channelEnds ?? [tables.channels];
  const sliceCount = channelEnds.length;
  if (sliceCount < 1 || sliceCount > MAX_SLICES) {
    throw new CodecError('slice-count', `${sliceCount} channel ends; an image has 1 to ${MAX_SLICES} slices`);
  }

  const plane = h * w;
  const slices: Uint8Array<ArrayBuffer>[] = [];
  let start = 0;
  for (const [index, channelEnd] of channelEnds.entries()) {
    checkChannelEnd(start, channelEnd, index, sliceCount, tables.channels);
    const held = symbols.subarray(start * plane, channelEnd * plane);
    const words = encode(held, channelRuns(tables, point, start, channelEnd, plane), tables.tables);
    const [first] = slices;
    slices.push(
      first === undefined
        ? writeFirstSlice({ version: VERSION, codecId: codec.id, point, h, w, sliceCount, channelEnd }, words)
        : writeLaterSlice({ index, sliceCount, channelEnd, point }, words, first),
    );
    start = channelEnd;
  }
  return slices;
}

/**
 * All slices of an image, or the first few of them -> symbols.
 *
 * `codecs`: the codecs that this reader has, by id. Made for hostile input: limits are checked before anything is
 * allocated, and only `CodecError` is thrown.
 */
export function decodeBitstream(
  slices: readonly Uint8Array[],
  codecs: ReadonlyMap<string, Codec>,
  limits: Partial<Limits> = {},
): DecodedBitstream {
  const { maxBytes, maxSymbols } = { ...DEFAULT_LIMITS, ...limits };
  const [first] = slices;
  if (first === undefined || slices.length > MAX_SLICES) {
    throw new CodecError('slice-count', `${slices.length} slices; an image has 1 to ${MAX_SLICES}`);
  }
  const bytes = slices.reduce((sum, slice) => sum + slice.length, 0);
  if (bytes > maxBytes)
    throw new CodecError('too-many-bytes', `the slices have ${bytes} bytes; the limit is ${maxBytes}`);

  const header = readHeader(first, limits);
  const { point, h, w, sliceCount } = header;
  if (slices.length > sliceCount) {
    throw new CodecError('slice-count', `${slices.length} slices of an image that says it has ${sliceCount}`);
  }
  const codec = codecs.get(header.codecId);
  if (codec === undefined) {
    const known = [...codecs.keys()].join(', ');
    throw new CodecError(
      'unknown-codec',
      `coded with codec ${header.codecId}; this reader has ${known || 'none'}`,
    );
  }
  const { tables } = codec;
  const { channels } = tables;
  checkPoint(point, tables);
  const plane = h * w;
  if (channels * plane > maxSymbols) {
    throw new CodecError('too-many-symbols', `${channels} x ${h} x ${w} symbols; the limit is ${maxSymbols}`);
  }

  const symbols = new Int16Array(channels * plane);
  let start = 0;
  for (const [index, slice] of slices.entries()) {
    const { channelEnd } = index === 0 ? header : laterHeader(slice, first, index, header);
    checkChannelEnd(start, channelEnd, index, sliceCount, channels);
    const words = slice.subarray(index === 0 ? HEADER_BYTES : LATER_HEADER_BYTES);
    const runs = channelRuns(tables, point, start, channelEnd, plane);
    const out = symbols.subarray(start * plane, channelEnd * plane);
    try {
      decode(words, runs, tables.tables, { out });
    } catch (error) {
      if (!(error instanceof RansError)) throw error;
      throw new CodecError('entropy', `slice ${index}: ${error.message}`, { cause: error });
    }
    start = channelEnd;
  }
  return { codec, point, h, w, channels: start, symbols };
}

/** Channels start to end - 1, a run of `plane` symbols each, with their tables at the operating point. */
function channelRuns(
  { channels, tableOf }: CodecTables,
  point: number,
  start: number,
  end: number,
  plane: number,
): Runs {
  return { tables: tableOf.subarray(point * channels + start, point * channels + end), length: plane };
}

/** Throws `CodecError` 'shape-range' or 'shape-mismatch' unless symbols is (C, h, w). */
export function checkShape(symbols: Int16Array, { h, w }: Shape, { channels }: CodecTables): void {
  for (const side of [h, w]) {
    if (!(Number.isInteger(side) && side >= 1 && side <= MAX_SIDE)) {
      throw new CodecError('shape-range', `latents of ${h} x ${w}; both sides must be 1 to ${MAX_SIDE}`);
    }
  }
  if (symbols.length !== channels * h * w) {
    throw new CodecError(
      'shape-mismatch',
      `${symbols.length} symbols, but ${channels} channels of ${h} x ${w}`,
    );
  }
}

/** A later slice's header, checked to be the one that follows. */
function laterHeader(
  slice: Uint8Array,
  first: Uint8Array,
  index: number,
  { sliceCount, point }: { sliceCount: number; point: number },
): { channelEnd: number } {
  const later = readLaterHeader(slice, first);
  if (later.index !== index || later.sliceCount !== sliceCount || later.point !== point) {
    throw new CodecError(
      'slice-order',
      `slice ${later.index} of ${later.sliceCount}, point ${later.point}, where ${index} of ${sliceCount}, point ${point} must be`,
    );
  }
  return later;
}

function checkChannelEnd(
  start: number,
  end: number,
  index: number,
  sliceCount: number,
  channels: number,
): void {
  const last = index === sliceCount - 1;
  if (!(Number.isInteger(end) && end > start && (last ? end === channels : end < channels))) {
    const allowed = last ? `${channels}` : `between ${start} and ${channels}`;
    throw new CodecError(
      'channel-range',
      `slice ${index} of ${sliceCount} ends at channel ${end}; it must be ${allowed}`,
    );
  }
}
