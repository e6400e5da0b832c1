import { find } from './dom.ts';
import { count } from './format.ts';
import type { Encoded } from './protocol.ts';

/** Bytes of the bitstream in a row. */
const ROW = 128;
/** Between tiles and bytes, of the width. */
const GAP = 0.04;
/** Symbols from here on have the strongest colour. */
const STRONGEST = 6;

/**
 * The channels that say something and the bitstream, as two pictures that fill a square together: the more bytes, the less
 * room for the channels. Colours are the page's: drawn again when those change.
 */
export class LatentView {
  /** The symbols. */
  readonly canvas: HTMLCanvasElement = find('latent', HTMLCanvasElement);
  readonly #bitstream = find('bitstream', HTMLCanvasElement);
  readonly #note = find('latent-note', HTMLElement);
  #last: Encoded | undefined;

  constructor() {
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      if (this.#last) this.show(this.#last);
    });
  }

  show(encoded: Encoded): void {
    this.#last = encoded;
    const { symbols, channels, height, width, bitstream } = encoded;
    const plane = height * width;
    const tiles = Array.from({ length: channels }, (_, c) =>
      symbols.subarray(c * plane, (c + 1) * plane),
    ).filter((tile) => tile.some((symbol) => symbol !== 0));
    const [positive, negative] = [colour('--edge'), colour('--ink')];
    this.#drawBytes(bitstream, negative);
    this.#drawTiles(tiles, encoded, positive, negative);
    const shape = `${tiles.length} of ${channels} channels of ${height}\u00a0×\u00a0${width}`;
    this.canvas.ariaLabel = `The latent as a picture: ${shape}; the others are zero`;
    this.#bitstream.ariaLabel = `The bitstream as a picture: ${count(bitstream.length)} bytes`;
    this.#note.textContent = `${shape}; a dot below is a byte`;
  }

  /** As large as the bytes below leave room for. */
  #drawTiles(
    tiles: readonly Int16Array[],
    { height, width, bitstream }: Encoded,
    positive: readonly number[],
    negative: readonly number[],
  ): void {
    const room = 1 - GAP - Math.ceil(bitstream.length / ROW) / ROW;
    let columns = 1;
    while (columns < tiles.length && Math.ceil(tiles.length / columns) / columns > room) columns++;
    const rows = Math.max(1, Math.ceil(tiles.length / columns));
    const picture = new ImageData(columns * (width + 1) - 1, rows * (height + 1) - 1);
    for (const [t, tile] of tiles.entries()) {
      const left = (t % columns) * (width + 1);
      const top = Math.floor(t / columns) * (height + 1);
      for (const [i, symbol] of tile.entries()) {
        if (symbol === 0) continue;
        const at = (top + Math.floor(i / width)) * picture.width + left + (i % width);
        const strength = Math.min(1, Math.log2(1 + Math.abs(symbol)) / Math.log2(1 + STRONGEST));
        picture.data.set([...(symbol > 0 ? positive : negative), 70 + 185 * strength], 4 * at);
      }
    }
    paint(this.canvas, picture);
  }

  #drawBytes(bitstream: Uint8Array, ink: readonly number[]): void {
    const picture = new ImageData(ROW, Math.ceil(bitstream.length / ROW));
    bitstream.forEach((byte, i) => picture.data.set([...ink, byte], 4 * i));
    paint(this.#bitstream, picture);
  }
}

function paint(canvas: HTMLCanvasElement, picture: ImageData): void {
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext('2d')!.putImageData(picture, 0, 0);
}

/** One of the page's colours, #rrggbb there, as bytes. */
function colour(name: string): readonly number[] {
  const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
}
