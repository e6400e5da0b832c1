import { find, make } from './dom.ts';

/** The samples' names: the build lists them. */
declare const SAMPLES: readonly string[];

const FIRST = 'red-panda';

/** Every way for a photo to come onto the page but the camera. @param take with its name, for people */
export function offerPhotos(
  take: (photo: Blob, name: string) => void,
  failed: (message: string) => void,
): void {
  const frame = find('frame', HTMLElement);

  function takeFirst(files: Iterable<File>): void {
    const [file] = files;
    if (!file) return;
    mark(undefined);
    take(file, file.name);
  }

  find('file', HTMLInputElement).addEventListener('change', ({ target }) => {
    const input = target as HTMLInputElement; // the one that it was added to
    takeFirst(input.files ?? []);
    input.value = ''; // the same file may be chosen again
  });
  document.addEventListener('paste', ({ clipboardData }) => takeFirst(clipboardData?.files ?? []));

  // anywhere on the page: a file that misses the frame would be opened instead of it
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    frame.classList.add('dropping');
  });
  document.addEventListener('dragleave', ({ relatedTarget }) => {
    if (relatedTarget === null) frame.classList.remove('dropping');
  });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    frame.classList.remove('dropping');
    takeFirst(event.dataTransfer?.files ?? []);
  });

  const buttons = new Map(SAMPLES.map((name) => [name, sampleButton(name, () => void choose(name))]));
  find('samples', HTMLElement).append(...[...buttons.values()].map((button) => make('li', {}, button)));
  void choose(SAMPLES.includes(FIRST) ? FIRST : SAMPLES[0]!);

  async function choose(name: string): Promise<void> {
    mark(name);
    try {
      const response = await fetch(`./samples/${name}.jpg`);
      if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
      take(await response.blob(), `${name}.jpg`);
    } catch (error) {
      failed(`${name}.jpg did not come: ${(error as Error).message}`);
    }
  }

  function mark(name: string | undefined): void {
    for (const [other, button] of buttons) button.ariaCurrent = other === name ? 'true' : null;
  }
}

function sampleButton(name: string, choose: () => void): HTMLButtonElement {
  const picture = make('img', { src: `./samples/small/${name}.webp`, alt: name.replaceAll('-', ' ') });
  const button = make('button', { type: 'button', title: picture.alt }, picture);
  button.addEventListener('click', choose);
  return button;
}
