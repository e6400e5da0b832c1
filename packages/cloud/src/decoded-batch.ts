import { CodecError, decodeBitstream, parseTables, type Codec } from '@raccoon/codec';
import { toResult } from './result.ts';
import type { BatchItem, ItemOutcome, ModelFiles } from './worker-frames.ts';

/** A model's codecs, ready to decode, by id. */
export function codecsOf({ codecs }: ModelFiles): ReadonlyMap<string, Codec> {
  return new Map(codecs.map(({ id, tables }) => [id, { id, tables: parseTables(tables) }]));
}

/**
 * The images of a batch whose bitstreams can be decoded, and what is wrong with the others: that is their outcome, and nothing to
 * these.
 */
export class DecodedBatch {
  /** (n, C, h, w): the beginning of `room`. */
  readonly symbols: Int16Array;
  /** (n) */
  readonly points: readonly number[];
  readonly #items: readonly BatchItem[];
  /** Item of each image. */
  readonly #rows: readonly number[];
  readonly #outcomes: readonly (ItemOutcome | undefined)[];

  /** @param room for the symbols of all items, (B, C, h, w) */
  constructor(
    items: readonly BatchItem[],
    codecs: ReadonlyMap<string, Codec>,
    imageSymbols: number,
    room: Int16Array,
  ) {
    const points: number[] = [];
    const rows: number[] = [];
    this.#outcomes = items.map(({ slices }, i) => {
      try {
        const { symbols, point } = decodeBitstream(slices, codecs);
        room.set(symbols, points.length * imageSymbols);
        points.push(point);
        rows.push(i);
        return undefined;
      } catch (error) {
        if (!(error instanceof CodecError)) throw error;
        return { fault: { code: 'corrupt-bitstream', reason: error.code, message: error.message } };
      }
    });
    this.symbols = room.subarray(0, points.length * imageSymbols);
    this.points = points;
    this.#items = items;
    this.#rows = rows;
  }

  /** @param logits (n, K) @returns one outcome for each item */
  outcomes(logits: Float32Array): ItemOutcome[] {
    const outcomes = [...this.#outcomes];
    const classes = logits.length / this.points.length;
    for (const [row, i] of this.#rows.entries()) {
      const { topK, wantLogits } = this.#items[i]!;
      const result = toResult(logits.subarray(row * classes, (row + 1) * classes), topK, wantLogits);
      outcomes[i] = Number.isNaN(result.margin) ? NOT_FINITE : { result };
    }
    return outcomes as ItemOutcome[]; // every item is a row or has its fault
  }
}

/** Some symbols overflow a network: nothing can be said of such an image. */
const NOT_FINITE: ItemOutcome = {
  fault: {
    code: 'internal',
    reason: 'not-finite',
    message: 'the network gives no finite logits for this image',
  },
};
