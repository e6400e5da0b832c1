// What page and worker tell each other. The worker does all the work, so that the page stays smooth.

/** What the user has set. */
export interface Settings {
  /** Who chooses encoder and rate: the sliders, or the controller. */
  readonly policy: 'fixed' | 'auto';
  /** Residual blocks of the encoder, and rate level: of `fixed`. Absent until a model is open: as it says. */
  readonly n?: number;
  readonly q?: number;
  /** ms; after that the local exit answers. Infinity: it waits. */
  readonly deadlineMs: number;
  readonly link: LinkSettings;
}

/** The link that the worker emulates. */
export interface LinkSettings {
  /** Towards the cloud; Infinity: as it comes. */
  readonly bytesPerSecond: number;
  /** Added to the real one, ms. */
  readonly rttMs: number;
  readonly cut: boolean;
}

export type ToWorker =
  | { readonly kind: 'open'; readonly settings: Settings }
  | { readonly kind: 'settings'; readonly settings: Settings }
  /** An encoded file, or a frame of the camera, which is not compared with JPEG. */
  | { readonly kind: 'photo'; readonly id: number; readonly photo: Blob | ImageBitmap };

export type FromWorker =
  | { readonly kind: 'opened'; readonly model: Model; readonly runtime: string }
  | { readonly kind: 'link'; readonly up: boolean; readonly why?: string }
  | { readonly kind: 'encoded'; readonly encoded: Encoded }
  | { readonly kind: 'answered'; readonly answer: Answer }
  | { readonly kind: 'compared'; readonly id: number; readonly pictures: readonly Picture[] }
  /** Of one photo, or, without an `id`, of everything. */
  | { readonly kind: 'failed'; readonly id?: number; readonly message: string };

/** What the page needs of the bundle's manifest. */
export interface Model {
  readonly name: string;
  readonly version: string;
  readonly classes: number;
  /** px */
  readonly width: number;
  readonly height: number;
  /** Of the encoders with float32, by n and q. */
  readonly points: readonly Point[];
  readonly defaultPoint: { readonly n: number; readonly q: number };
  /** What the accuracies of the points were measured on. */
  readonly measuredOn?: string;
}

export interface Point {
  readonly n: number;
  readonly q: number;
  /** Mean, from the manifest. */
  readonly bytes: number;
  /** Percent, measured. */
  readonly top1?: number;
}

export interface Guess {
  readonly name: string;
  /** 0 to 1 */
  readonly probability: number;
}

/** What this device knows of a photo before the cloud has answered. */
export interface Encoded {
  readonly id: number;
  readonly n: number;
  readonly q: number;
  /** (C, h, w) */
  readonly symbols: Int16Array<ArrayBuffer>;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** The bitstream; it may stay here. */
  readonly bitstream: Uint8Array<ArrayBuffer>;
  readonly sends: boolean;
  readonly reason: string;
  /** The local exit's answer, where there is one. */
  readonly local?: { readonly top: readonly Guess[]; readonly margin: number };
}

export interface Answer {
  readonly id: number;
  readonly source: 'cloud' | 'edge';
  readonly degraded: boolean;
  readonly reason: string;
  readonly top: readonly Guess[];
  readonly margin: number;
  /** That left this device; 0: none. */
  readonly bytes: number;
  readonly bpp: number;
  readonly times: Times;
  readonly totalMs: number;
}

/** ms per stage; the way to the cloud is 0 when nothing went there. */
export interface Times {
  readonly image: number;
  readonly encoder: number;
  readonly codec: number;
  readonly link: number;
  readonly cloud: number;
}

/** The same pixels by a codec for people's eyes. */
export interface Picture {
  readonly format: 'JPEG' | 'WebP';
  /** 0 to 100, as this browser's encoder understands it. */
  readonly quality: number;
  /** The quality was chosen for its size. */
  readonly nearest: boolean;
  readonly file: Blob;
}
