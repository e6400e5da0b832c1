import {
  connect,
  localAnswer,
  toRawImage,
  type Action,
  type AnalysedImage,
  type Bundle,
  type Classification,
  type BrowserClient,
  type Manifest,
  type PreparedImage,
  type RuntimeReport,
  type Sighting,
} from '@raccoon/client/browser';
import type { Answer, Encoded, FromWorker, Guess, Model, Settings } from './protocol.ts';
import { slowLink } from './slow-link.ts';
import { SwitchedPolicy } from './switched-policy.ts';

/** onnxruntime-web's own files, seen from the worker's. */
const RUNTIME_FILES = new URL('../runtime/', location.href).href;

/** A client of the cloud that serves this page, and what the page wants to see of its work. */
export interface Session {
  readonly bundle: Bundle;
  readonly model: Model;
  /** How the encoder runs here, for people. */
  readonly runtime: string;
  /** @throws EdgeError about the photo */
  prepare(photo: Blob | ImageBitmap): Promise<PreparedImage>;
  /**
   * One photo at a time.
   * @param prepared may come again, under other settings
   * @returns the answer, and the bytes that went to the cloud, or would have
   */
  classify(
    id: number,
    prepared: PreparedImage,
    signal: AbortSignal,
  ): Promise<{ answer: Answer; bytes: number }>;
  set(settings: Settings): void;
  /** Every encoder, so that no slider waits for one, and all of them are there without a network. */
  loadAll(): Promise<void>;
  close(): Promise<void>;
}

/**
 * @param settings as they are at any time
 * @param bundle which an earlier session loaded
 */
export async function openSession(
  settings: () => Settings,
  tell: (message: FromWorker) => void,
  bundle?: Bundle,
): Promise<Session> {
  let id = 0;
  let analysed: AnalysedImage | undefined;
  let drawn: Promise<number>;
  const policy = new SwitchedPolicy((action, sighting) => {
    const decided = { id, analysed: analysed!, action, sighting };
    drawn = new Promise((resolve) => {
      // in a moment, when it is on its way: what is drawn here keeps nothing waiting there
      setTimeout(() => {
        const encoded = encodedOf(client, decided, settings().q);
        tell({ kind: 'encoded', encoded });
        resolve(encoded.bitstream.length);
      });
    });
  });
  const { deadlineMs } = settings();
  const client = await connect({
    cloud: location.origin,
    fetch: slowLink(() => settings().link),
    runtimeFiles: RUNTIME_FILES,
    cache: true,
    policy,
    // somebody is looking: soon again, and while the link is down the local exit answers
    reconnect: { firstDelayMs: 250, maxDelayMs: 2000, patienceMs: 500 },
    ...(deadlineMs < Infinity && { deadlineMs }),
    ...(bundle && { bundle }),
  });
  const { manifest } = client.bundle;
  const first = settings();
  policy.begin(manifest, first);
  // before any photo: its time would run meanwhile
  await client.edge.load({
    n: first.n ?? manifest.points[manifest.defaultPoint]!.n,
    precision: 'float32',
  });
  client.events.on('connected', () => tell({ kind: 'link', up: true }));
  client.events.on('disconnected', ({ error }) => tell({ kind: 'link', up: false, why: error.message }));
  tell({ kind: 'link', up: client.stats().up });

  // What the client's encoder saw is what the page draws: nothing is encoded twice.
  const { edge } = client;
  const analyse = edge.analyse.bind(edge);
  edge.analyse = async (...photo) => (analysed = await analyse(...photo));

  return {
    bundle: client.bundle,
    model: modelOf(manifest),
    runtime: runtimeOf(client.edge.runtime),
    async prepare(photo) {
      if (photo instanceof Blob) return edge.prepare(new Uint8Array(await photo.arrayBuffer()));
      const pixels = await toRawImage(photo);
      photo.close();
      return edge.prepare(pixels);
    },
    async classify(photo, prepared, signal) {
      id = photo;
      const { width, height } = manifest.input;
      const answer = await client.classify({ data: prepared.pixels, width, height }, { signal });
      return { answer: answerOf(photo, answer, prepared, analysed!), bytes: await drawn };
    },
    set: (changed) => policy.set(changed),
    async loadAll() {
      for (const n of new Set(manifest.points.map((point) => point.n))) {
        await edge.load({ n, precision: 'float32' });
      }
    },
    close: () => client.close(),
  };
}

/** A photo that the encoder has seen. */
interface Decided {
  readonly id: number;
  readonly analysed: AnalysedImage;
  readonly action: Action;
  readonly sighting: Sighting;
}

function runtimeOf({ threads, isolated }: RuntimeReport): string {
  if (!isolated) return 'WebAssembly on one thread, as this page is not cross-origin isolated';
  return `WebAssembly on ${threads === 1 ? 'one thread' : `${threads} threads`}`;
}

function modelOf({ name, version, classes, input, points, defaultPoint }: Manifest): Model {
  const { n, q } = points[defaultPoint]!;
  const measuredOn = points[defaultPoint]!.measured?.data;
  return {
    name,
    version,
    classes: classes.length,
    width: input.width,
    height: input.height,
    defaultPoint: { n, q },
    points: points
      .filter(({ precision = 'float32' }) => precision === 'float32')
      .map((point) => ({
        n: point.n,
        q: point.q,
        bytes: ((point.measured?.payloadBpp ?? point.expectedBpp) * input.width * input.height) / 8,
        ...(point.measured && { top1: point.measured.top1 }),
      })),
    ...(measuredOn !== undefined && { measuredOn }),
  };
}

/** What is drawn of a photo while it is on its way; of one that stays here, what would have gone. */
function encodedOf(
  { edge, bundle }: BrowserClient,
  { id, analysed, action, sighting }: Decided,
  q: number | undefined,
): Encoded {
  const { manifest } = bundle;
  const { n } = sighting.encoder;
  const point = ('point' in action ? action.point : undefined) ?? pointOf(manifest, n, q);
  const { symbols, slices } = edge.code(analysed, point);
  const { exitLogits } = analysed;
  return {
    id,
    n,
    q: manifest.points[point]!.q,
    symbols: new Int16Array(symbols),
    ...manifest.latent,
    bitstream: new Uint8Array(slices[0]!),
    sends: action.kind === 'send',
    reason: action.reason,
    ...(exitLogits && { local: localOf(manifest, exitLogits) }),
  };
}

/** Of an encoder, at the rate that is set, or the bundle's usual one. */
function pointOf({ points, defaultPoint }: Manifest, n: number, q = points[defaultPoint]!.q): number {
  return points.findIndex((point) => point.n === n && point.q === q && point.precision !== 'int8');
}

function localOf({ classes }: Manifest, logits: Float32Array): { top: Guess[]; margin: number } {
  const { top, probabilities, margin } = localAnswer(logits);
  return {
    top: top.map((k) => ({ name: classes[k]!.name, probability: probabilities[k]! })),
    margin,
  };
}

function answerOf(
  id: number,
  answer: Classification,
  prepared: PreparedImage,
  { encoderMs }: AnalysedImage,
): Answer {
  const { source, degraded, reason = '', top, margin, bytes, bpp, totalMs } = answer;
  const cloud = answer.queueMs + answer.decodeMs + answer.inferMs;
  return {
    id,
    source,
    degraded,
    reason,
    top: top.map(({ name, probability }) => ({ name, probability })),
    margin,
    bytes,
    bpp,
    times: {
      image: prepared.imageMs,
      encoder: encoderMs,
      codec: Math.max(0, answer.encodeMs - encoderMs),
      link: Math.max(0, answer.roundTripMs - cloud),
      cloud,
    },
    totalMs: prepared.imageMs + totalMs,
  };
}
