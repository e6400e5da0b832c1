import { AnswerView } from './answer-view.ts';
import { Camera } from './camera.ts';
import { Controls } from './controls.ts';
import { find, make } from './dom.ts';
import { count, percent } from './format.ts';
import { LatentView } from './latent-view.ts';
import { offerPhotos } from './photos.ts';
import type { Answer, Encoded, FromWorker, Guess, Model, ToWorker } from './protocol.ts';
import { SizesView } from './sizes-view.ts';
import { TimesView } from './times-view.ts';
import { TradeOffView } from './trade-off-view.ts';

const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
const controls = new Controls((settings) => tell({ kind: 'settings', settings }));
const latent = new LatentView();
const answers = new AnswerView();
const times = new TimesView();
const sizes = new SizesView();
const tradeOff = new TradeOffView();
const camera = new Camera(takeFrame, cameraEnded);
const image = find('photo', HTMLImageElement);
const notice = find('notice', HTMLElement);
const linkStatus = find('link-status', HTMLElement);
const photoSize = find('photo-size', HTMLElement);
const sentSize = find('sent-size', HTMLElement);
const reason = find('reason', HTMLElement);
const summary = find('summary', HTMLElement);

let model: Model | undefined;
let id = 0;
let encoded: Encoded | undefined;
/** The photo of the last answer. */
let answered = 0;
/** The last photo that was no frame. */
let file: { photo: Blob; name: string } | undefined;

worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => receive(data));
worker.addEventListener('error', ({ message }) => {
  warn(`The encoder cannot run in this browser: ${message || 'its worker did not load'}.`);
});
offerPhotos(takeFile, warn);
tell({ kind: 'open', settings: controls.settings });

function tell(message: ToWorker, transfer: Transferable[] = []): void {
  worker.postMessage(message, transfer);
}

function takeFile(photo: Blob, name: string): void {
  camera.stop();
  file = { photo, name };
  const before = image.src;
  image.src = URL.createObjectURL(photo);
  if (before) URL.revokeObjectURL(before);
  image.alt = name;
  image.hidden = false;
  figure(photoSize, photo.size);
  notice.hidden = true;
  tell({ kind: 'photo', id: ++id, photo });
}

// a photo that has the network's size already is not cropped
image.addEventListener('load', () => {
  const asIs = image.naturalWidth === model?.width && image.naturalHeight === model.height;
  image.classList.toggle('as-is', asIs);
});

function takeFrame(frame: ImageBitmap): void {
  if (!image.hidden) {
    image.hidden = true;
    sizes.clear();
    notice.hidden = true;
  }
  photoSize.textContent = `${frame.width} × ${frame.height} pixels`;
  tell({ kind: 'photo', id: ++id, photo: frame }, [frame]);
}

function cameraEnded(message?: string): void {
  if (file) takeFile(file.photo, file.name);
  if (message) warn(message);
}

function receive(message: FromWorker): void {
  switch (message.kind) {
    case 'opened':
      open(message.model, message.runtime);
      return;
    case 'link':
      linkStatus.dataset['state'] = message.up ? 'up' : 'down';
      linkStatus.textContent = message.up
        ? `Cloud at ${location.host}`
        : 'No link: this device answers alone';
      linkStatus.title = message.why ?? '';
      return;
    case 'encoded':
      if (message.encoded.id === id) showEncoded(message.encoded);
      return;
    case 'answered':
      if (message.answer.id === id) showAnswer(message.answer);
      if (camera.isOn) camera.next();
      return;
    case 'compared':
      if (message.id === id && encoded) sizes.show(encoded, message.pictures, latent.canvas, model!);
      return;
    case 'failed':
      failed(message.message, message.id);
      return;
    default:
      message satisfies never;
  }
}

function open(opened: Model, runtime: string): void {
  model = opened;
  controls.open(opened);
  tradeOff.open(opened);
  const { name, version, classes } = opened;
  find('about', HTMLElement).textContent = `${name} ${version}, ${count(classes)} classes. ${runtime}.`;
}

function showEncoded(shown: Encoded): void {
  encoded = shown;
  dim(shown.id !== answered);
  latent.show(shown);
  answers.waiting(shown);
  controls.chosen(shown);
  tradeOff.show(shown.n, shown.q);
  reason.textContent = shown.reason;
  if (shown.sends) figure(sentSize, shown.bitstream.length);
}

/** What is still another photo's is dimmed. */
function dim(isOld: boolean): void {
  document.body.classList.toggle('waiting', isOld);
}

function showAnswer(answer: Answer): void {
  answered = answer.id;
  dim(false);
  answers.show(answer);
  times.show(answer);
  reason.textContent = answer.reason;
  figure(sentSize, answer.bytes);
  const [{ name, probability }] = answer.top as [Guess]; // a network says something
  summary.replaceChildren(
    make('span', { className: 'edge' }, `${count(answer.bytes)} bytes`),
    ' → ',
    make('span', { className: answer.source }, name),
    ` ${percent(probability)}`,
  );
}

function failed(message: string, of: number | undefined): void {
  if (of !== undefined) {
    if (of !== id) return;
    dim(false);
    answers.failed(message);
    if (camera.isOn) camera.next();
    return;
  }
  linkStatus.dataset['state'] = 'down';
  linkStatus.textContent = 'Not started';
  const again = make('button', { type: 'button' }, 'Try again');
  again.addEventListener('click', () => {
    notice.hidden = true;
    tell({ kind: 'open', settings: controls.settings });
  });
  warn(`There is no model to encode with: ${message}.`, again);
}

function warn(message: string, ...more: readonly Node[]): void {
  notice.replaceChildren(message, ...more);
  notice.hidden = false;
}

/** 1,883 bytes */
function figure(into: HTMLElement, bytes: number): void {
  into.replaceChildren(count(bytes), ' ', make('small', {}, 'bytes'));
}

if ('serviceWorker' in navigator) {
  navigator.serviceWorker.register('./service-worker.js').catch(() => undefined); // it works without, while online
}
