import { bar, find, make } from './dom.ts';
import { count } from './format.ts';
import type { Encoded, Model, Picture } from './protocol.ts';

/** The photo's bytes, by Raccoon and by codecs for people's eyes. */
export class SizesView {
  readonly #sizes = find('sizes', HTMLOListElement);
  readonly #note = find('sizes-note', HTMLElement);
  #urls: string[] = [];

  show(encoded: Encoded, pictures: readonly Picture[], latent: HTMLCanvasElement, model: Model): void {
    for (const url of this.#urls) URL.revokeObjectURL(url);
    const { n, q, bitstream } = encoded;
    const largest = Math.max(bitstream.length, ...pictures.map(({ file }) => file.size));
    const urls = pictures.map(({ file }) => URL.createObjectURL(file));
    this.#urls = urls;
    this.#sizes.replaceChildren(
      row(`Raccoon, n=${n} q=${q}`, bitstream.length, largest, copyOf(latent), 'ours'),
      ...pictures.map(({ format, quality, nearest, file }, i) => {
        const image = make('img', { className: 'picture', src: urls[i]!, alt: '' });
        const name = `${format}, quality ${quality}${nearest ? ': as few bytes' : ''}`;
        return row(name, file.size, largest, image);
      }),
    );
    this.#note.textContent =
      `The same ${model.width} × ${model.height} pixels by this browser’s own encoders. Raccoon’s bytes are for the network alone: ` +
      `nobody can look at them. How many labels survive each is measured on labelled photos, in docs/results.`;
  }

  clear(): void {
    this.#sizes.replaceChildren();
    this.#note.textContent = 'Compared with JPEG and WebP for photos; not for each frame of the camera.';
  }
}

function row(
  name: string,
  bytes: number,
  largest: number,
  picture: HTMLElement,
  className = '',
): HTMLElement {
  return make(
    'li',
    { className },
    picture,
    make('span', {}, name),
    make('span', {}, `${count(bytes)} B`),
    bar(bytes / largest),
  );
}

function copyOf(from: HTMLCanvasElement): HTMLCanvasElement {
  const copy = make('canvas', { className: 'picture pixels', width: from.width, height: from.height });
  copy.ariaHidden = 'true';
  copy.getContext('2d')!.drawImage(from, 0, 0);
  return copy;
}
