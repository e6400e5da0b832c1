import { crc32c } from '@raccoon/rans-coder';
import { fromHex, toHex } from './codec-id.ts';
import { CodecError } from './errors.ts';
import { DEFAULT_LIMITS, MAX_SLICES } from './limits.ts';
import type { Limits } from './limits.ts';

/** Version of the bitstream: what it wrote, every later release reads (docs/bitstream.md). */
export const VERSION = 1;

/** Bytes of the first slice's header, checksum included. */
export const HEADER_BYTES = 16;

/** Bytes of every later slice's header, checksum included. */
export const LATER_HEADER_BYTES = 8;

const CRC_BYTES = 4;

/** What the first slice says about its image. */
export interface Header {
  readonly version: number;
  /** 12 hexadecimal characters. */
  readonly codecId: string;
  /** Operating point. */
  readonly point: number;
  readonly h: number;
  readonly w: number;
  /** Slices that the whole image has, 1 to 4. */
  readonly sliceCount: number;
  /** The first slice holds channels 0 to channelEnd - 1. */
  readonly channelEnd: number;
}

/** What a later slice says. */
export interface LaterHeader {
  /** Position in the image, 1 to 3. */
  readonly index: number;
  readonly sliceCount: number;
  /** The slice holds the channels from the previous slice's end to channelEnd - 1. */
  readonly channelEnd: number;
  readonly point: number;
}

/** The first slice: header, checksum, words. */
export function writeFirstSlice(header: Header, words: Uint8Array): Uint8Array<ArrayBuffer> {
  const { version, codecId, point, h, w, sliceCount, channelEnd } = header;
  const fields = Uint8Array.of(version << 4, ...fromHex(codecId), point, h, w, sliceCount, channelEnd);
  return withChecksum(fields, words, 0);
}

/** A later slice of the image whose first slice is `first`: header, checksum, words. */
export function writeLaterSlice(
  header: LaterHeader,
  words: Uint8Array,
  first: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const { index, sliceCount, channelEnd, point } = header;
  const fields = Uint8Array.of(VERSION << 4, (index << 4) | sliceCount, channelEnd, point);
  return withChecksum(fields, words, readChecksum(first, HEADER_BYTES));
}

/**
 * Reads and checks the header of an image's first slice; nothing is entropy-decoded. Throws `CodecError`.
 */
export function readHeader(slice: Uint8Array, limits: Partial<Limits> = {}): Header {
  const { maxBytes, maxSymbols } = { ...DEFAULT_LIMITS, ...limits };
  if (slice.length > maxBytes) {
    throw new CodecError(
      'too-many-bytes',
      `the first slice has ${slice.length} bytes; the limit is ${maxBytes}`,
    );
  }
  checkStart(slice, HEADER_BYTES, 'the first slice');
  checkSum(slice, HEADER_BYTES, 0, 'the first slice');
  const header = fieldsOf(slice);
  const { h, w, sliceCount, channelEnd } = header;
  if (h < 1 || w < 1)
    throw new CodecError('shape-range', `the header says ${h} x ${w}; both must be 1 to 255`);
  if (slice[10]! >>> 4 !== 0) {
    throw new CodecError('slice-order', `slice ${slice[10]! >>> 4} where the first slice (0) must be`);
  }
  if (sliceCount < 1 || sliceCount > MAX_SLICES) {
    throw new CodecError(
      'slice-count',
      `the header says ${sliceCount} slices; an image has 1 to ${MAX_SLICES}`,
    );
  }
  if (channelEnd < 1)
    throw new CodecError('channel-range', 'the first slice ends at channel 0; it must hold some');
  if (channelEnd * h * w > maxSymbols) {
    throw new CodecError(
      'too-many-symbols',
      `${channelEnd} x ${h} x ${w} symbols; the limit is ${maxSymbols}`,
    );
  }
  return header;
}

/**
 * What the header of an image's first slice says, its checksum and limits unchecked: for whoever passes the slice on to a
 * reader that does. Throws `CodecError` 'truncated', 'version' or 'flags'.
 */
export function peekHeader(slice: Uint8Array): Header {
  checkStart(slice, HEADER_BYTES, 'the first slice');
  return fieldsOf(slice);
}

/** Reads and checks the header of a later slice of the image whose first slice is `first`. Throws `CodecError`. */
export function readLaterHeader(slice: Uint8Array, first: Uint8Array): LaterHeader {
  checkStart(slice, LATER_HEADER_BYTES, 'a later slice');
  checkSum(slice, LATER_HEADER_BYTES, readChecksum(first, HEADER_BYTES), 'a later slice');
  return { index: slice[1]! >>> 4, sliceCount: slice[1]! & 15, channelEnd: slice[2]!, point: slice[3]! };
}

function fieldsOf(slice: Uint8Array): Header {
  return {
    version: slice[0]! >>> 4,
    codecId: toHex(slice.subarray(1, 7)),
    point: slice[7]!,
    h: slice[8]!,
    w: slice[9]!,
    sliceCount: slice[10]! & 15,
    channelEnd: slice[11]!,
  };
}

/** The fields that every slice starts with, in the order of docs/bitstream.md. */
function checkStart(slice: Uint8Array, headerBytes: number, name: string): void {
  if (slice.length < headerBytes) {
    throw new CodecError(
      'truncated',
      `${name} has ${slice.length} bytes; its header alone has ${headerBytes}`,
    );
  }
  const version = slice[0]! >>> 4;
  if (version !== VERSION) {
    throw new CodecError(
      'version',
      `${name} has version ${version}; this reader knows version ${VERSION}: update it`,
    );
  }
  if ((slice[0]! & 15) !== 0)
    throw new CodecError('flags', `${name} has flags ${slice[0]! & 15}; version ${VERSION} has none`);
}

/** `crc`: what the checksum goes on from. */
function checkSum(slice: Uint8Array, headerBytes: number, crc: number, name: string): void {
  const fields = slice.subarray(0, headerBytes - CRC_BYTES);
  if (crc32c(slice.subarray(headerBytes), crc32c(fields, crc)) !== readChecksum(slice, headerBytes)) {
    throw new CodecError(
      'checksum',
      `${name} is damaged or belongs to another image: its checksum does not match`,
    );
  }
}

function readChecksum(slice: Uint8Array, headerBytes: number): number {
  return new DataView(slice.buffer, slice.byteOffset, headerBytes).getUint32(headerBytes - CRC_BYTES, true);
}

function withChecksum(fields: Uint8Array, words: Uint8Array, crc: number): Uint8Array<ArrayBuffer> {
  const slice = new Uint8Array(fields.length + CRC_BYTES + words.length);
  slice.set(fields);
  new DataView(slice.buffer).setUint32(fields.length, crc32c(words, crc32c(fields, crc)), true);
  slice.set(words, fields.length + CRC_BYTES);
  return slice;
}
