import { BundleError, type Bundle, type Manifest, type OperatingPoint } from '@raccoon/bundle';
import { encodeBitstream, quantise, type EncodeOptions as CutOptions } from '@raccoon/codec';
import { EdgeError } from './errors.ts';
import type { ImageInput } from './image.ts';
import type { EncoderChoice } from './controller/policy.ts';
import type { Encoder, Runtime } from './runtime.ts';
import { createInputTensor } from './tensor.ts';

/** One image on its way to the wire. */
export interface EncodedImage {
  /** The bitstream, one entry per slice. */
  slices: Uint8Array[];
  /** (C, h, w), what the bitstream says. */
  symbols: Int16Array;
  /** (K), the local exit's, when asked for and where the bundle has one. */
  exitLogits?: Float32Array;
  /** Operating point. */
  point: number;
  /** Of the whole bitstream. */
  bytes: number;
  /** Bits per pixel of the network's input. */
  bpp: number;
  /** Decoding and resizing the photo, ms. */
  imageMs: number;
  /** Normalising and the encoder network, ms. */
  encoderMs: number;
  /** Rounding and entropy coding, ms. */
  codecMs: number;
}

export interface EncodeOptions {
  /** Run the local exit, too: `exitLogits`. Default: no. */
  exit?: boolean;
}

/** One image at the network's size, before an encoder was chosen. */
export interface PreparedImage {
  /** RGB, 8 bits, (H, W, 3): yours where you gave decoded pixels of this size, so leave them as they are until encoded. */
  readonly pixels: Uint8Array;
  readonly imageMs: number;
}

/** One image after the encoder network, before a rate was chosen. */
export interface AnalysedImage {
  readonly encoder: EncoderChoice;
  /** (1, C, h, w), before gain and rounding. It is this image's own: valid as long as you keep it. */
  readonly latent: Float32Array;
  /** (K), the local exit's, when asked for and where the bundle has one. */
  readonly exitLogits?: Float32Array;
  readonly imageMs: number;
  readonly encoderMs: number;
}

/** image -> tensor -> latent -> symbols -> bitstream. Opens no sockets. */
export interface Edge {
  readonly bundle: Bundle;
  /**
   * Encodes one image at operating point `point` (default: the bundle's).
   * @throws EdgeError about the image, BundleError about the encoder's file, CodecError `symbol-range`
   */
  encode(image: ImageInput | PreparedImage, point?: number, options?: EncodeOptions): Promise<EncodedImage>;
  /**
   * Loads an encoder before it is needed: the first image would wait for it.
   * @throws EdgeError, BundleError about the encoder's file
   */
  load(encoder: EncoderChoice): Promise<void>;
  /**
   * Decodes and resizes an image, which `encode` does by itself. An encoder blocks this thread while it runs; the photo
   * whose preparation was started before goes on meanwhile, in other threads.
   * @throws EdgeError about the image
   */
  prepare(image: ImageInput): Promise<PreparedImage>;
  /**
   * The first half of `encode`: image -> tensor -> latent. What is sent of it, and at what rate, can be chosen then.
   * @throws EdgeError about the image, BundleError about the encoder's file
   */
  analyse(
    image: ImageInput | PreparedImage,
    encoder: EncoderChoice,
    options?: EncodeOptions,
  ): Promise<AnalysedImage>;
  /**
   * The second half: latent -> symbols -> bitstream, at any point of its encoder; in one slice, or cut at `channelEnds`.
   * @throws CodecError `symbol-range`, and about the cuts
   */
  code(analysed: AnalysedImage, point: number, cuts?: CutOptions): EncodedImage;
  /** Frees the encoder networks. */
  close(): Promise<void>;
}

/** A point of the encoder `choice`. @throws BundleError `unknown-point` */
function encoderOf({ name, points }: Manifest, { n, precision }: EncoderChoice): OperatingPoint {
  const found = points.find((point) => point.n === n && (point.precision ?? 'float32') === precision);
  if (found) return found;
  const encoders = new Set(points.map((point) => `n=${point.n} ${point.precision ?? 'float32'}`));
  throw new BundleError(
    'unknown-point',
    `${name} has no encoder n=${n} ${precision}; it has ${[...encoders].join(', ')}`,
  );
}

/** An edge over a bundle and a platform; encoders are loaded at their first use and kept. */
export function createEdge(bundle: Bundle, runtime: Runtime): Edge {
  const { manifest, codec } = bundle;
  const encoders = new Map<string, Promise<Encoder>>();
  const tensor = createInputTensor(manifest.input);
  let lastRun: Promise<unknown> = Promise.resolve();
  let closed = false;

  function encoderFor(file: string): Promise<Encoder> {
    let encoder = encoders.get(file);
    if (!encoder) {
      encoder = bundle
        .read(file)
        .then((onnx) => runtime.loadEncoder(onnx, file, tensor.data, manifest.exit?.output));
      encoders.set(file, encoder);
      encoder.catch(() => encoders.delete(file)); // a later call may succeed
    }
    return encoder;
  }

  function pointAt(point: number): OperatingPoint {
    const operating = manifest.points[point];
    if (operating) return operating;
    throw new RangeError(`point ${point}: ${manifest.name} has points 0 to ${manifest.points.length - 1}`);
  }

  /** One after the other: all encoders read the one tensor. */
  function inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = lastRun.then(run);
    lastRun = result.catch(() => undefined);
    return result;
  }

  function checkOpen(): void {
    if (closed) throw new EdgeError('closed', 'this edge was closed');
  }

  async function prepare(image: ImageInput): Promise<PreparedImage> {
    checkOpen();
    const start = performance.now();
    const pixels = await runtime.readPixels(image, manifest.input);
    return { pixels, imageMs: performance.now() - start };
  }

  async function analyse(
    image: ImageInput | PreparedImage,
    choice: EncoderChoice,
    { exit = false }: EncodeOptions = {},
  ): Promise<AnalysedImage> {
    checkOpen();
    const { channels, height: h, width: w } = manifest.latent;
    const { encoder: file } = encoderOf(manifest, choice);
    const encoder = await encoderFor(file);
    const { pixels, imageMs } = typeof image === 'object' && 'pixels' in image ? image : await prepare(image);
    const { latent, exitLogits, encoderMs } = await inTurn(async () => {
      checkOpen(); // again: its networks may be gone
      const start = performance.now();
      tensor.fill(pixels);
      const output = await encoder.run(exit && manifest.exit !== undefined);
      return { ...output, encoderMs: performance.now() - start };
    });
    if (latent.length !== channels * h * w) {
      throw new EdgeError('encoder', `${file} gave ${latent.length} values, not ${channels}x${h}x${w}`);
    }
    if (exitLogits && exitLogits.length !== manifest.classes.length) {
      throw new EdgeError(
        'encoder',
        `the exit of ${file} gave ${exitLogits.length} logits for ${manifest.classes.length} classes`,
      );
    }
    return {
      encoder: choice,
      latent,
      ...(exitLogits && { exitLogits }),
      imageMs,
      encoderMs,
    };
  }

  function code(analysed: AnalysedImage, point: number, cuts?: CutOptions): EncodedImage {
    const start = performance.now();
    const { n, precision = 'float32' } = pointAt(point);
    const { encoder, latent, exitLogits, imageMs, encoderMs } = analysed;
    if (n !== encoder.n || precision !== encoder.precision) {
      throw new RangeError(
        `point ${point} is n=${n} ${precision}, the latent n=${encoder.n} ${encoder.precision}`,
      );
    }
    const { height: h, width: w } = manifest.latent;
    const symbols = quantise(latent, h * w, point, codec.tables);
    const slices = encodeBitstream(symbols, { h, w }, point, codec, cuts);
    const bytes = slices.reduce((sum, slice) => sum + slice.length, 0);
    return {
      slices,
      symbols,
      ...(exitLogits && { exitLogits }),
      point,
      bytes,
      bpp: (bytes * 8) / (manifest.input.width * manifest.input.height),
      imageMs,
      encoderMs,
      codecMs: performance.now() - start,
    };
  }

  return {
    bundle,
    async load(choice) {
      checkOpen();
      await encoderFor(encoderOf(manifest, choice).encoder);
    },
    prepare,
    analyse,
    code,
    async encode(image, point = manifest.defaultPoint, options) {
      const { n, precision = 'float32' } = pointAt(point);
      return code(await analyse(image, { n, precision }, options), point);
    },
    async close() {
      closed = true;
      await lastRun;
      for (const encoder of encoders.values()) await (await encoder).release();
      encoders.clear();
    },
  };
}
