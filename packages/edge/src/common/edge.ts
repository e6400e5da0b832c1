import type { Bundle } from '@raccoon/bundle';
import { encodeBitstream, quantise } from '@raccoon/codec';
import { EdgeError } from './errors.ts';
import type { ImageInput } from './image.ts';
import type { Encoder, Runtime } from './runtime.ts';
import { toTensor } from './tensor.ts';

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
  /** The encoder network, ms. */
  encoderMs: number;
  /** Rounding and entropy coding, ms. */
  codecMs: number;
}

export interface EncodeOptions {
  /** Run the local exit, too: `exitLogits`. Default: no. */
  exit?: boolean;
}

/** image -> tensor -> latent -> symbols -> bitstream. Opens no sockets. */
export interface Edge {
  readonly bundle: Bundle;
  /**
   * Encodes one image at operating point `point` (default: the bundle's).
   * @throws EdgeError about the image, BundleError about the encoder's file, CodecError `symbol-range`
   */
  encode(image: ImageInput, point?: number, options?: EncodeOptions): Promise<EncodedImage>;
  /** Frees the encoder networks. */
  close(): Promise<void>;
}

/** An edge over a bundle and a platform; encoders are loaded at their first use and kept. */
export function createEdge(bundle: Bundle, runtime: Runtime): Edge {
  const { manifest, codec } = bundle;
  const encoders = new Map<string, Promise<Encoder>>();
  let closed = false;

  function encoderFor(file: string): Promise<Encoder> {
    let encoder = encoders.get(file);
    if (!encoder) {
      encoder = bundle.read(file).then((onnx) => runtime.loadEncoder(onnx, file, manifest.exit?.output));
      encoders.set(file, encoder);
      encoder.catch(() => encoders.delete(file)); // a later call may succeed
    }
    return encoder;
  }

  return {
    bundle,
    async encode(image, point = manifest.defaultPoint, { exit = false } = {}) {
      if (closed) throw new EdgeError('closed', 'this edge was closed');
      const operating = manifest.points[point];
      if (!operating) {
        throw new RangeError(
          `point ${point}: ${manifest.name} has points 0 to ${manifest.points.length - 1}`,
        );
      }
      const { channels, height: h, width: w } = manifest.latent;
      const encoder = await encoderFor(operating.encoder);

      const start = performance.now();
      const tensor = toTensor(await runtime.readPixels(image, manifest.input), manifest.input);
      const decoded = performance.now();
      const { latent, exitLogits } = await encoder.run(tensor, exit && manifest.exit !== undefined);
      if (latent.length !== channels * h * w) {
        throw new EdgeError(
          'encoder',
          `${operating.encoder} gave ${latent.length} values, not ${channels}x${h}x${w}`,
        );
      }
      if (exitLogits && exitLogits.length !== manifest.classes.length) {
        throw new EdgeError(
          'encoder',
          `the exit of ${operating.encoder} gave ${exitLogits.length} logits for ${manifest.classes.length} classes`,
        );
      }
      const encoded = performance.now();
      const symbols = quantise(latent, h * w, point, codec.tables);
      const slices = encodeBitstream(symbols, { h, w }, point, codec);
      const bytes = slices.reduce((sum, slice) => sum + slice.length, 0);
      return {
        slices,
        symbols,
        ...(exitLogits && { exitLogits }),
        point,
        bytes,
        bpp: (bytes * 8) / (manifest.input.width * manifest.input.height),
        imageMs: decoded - start,
        encoderMs: encoded - decoded,
        codecMs: performance.now() - encoded,
      };
    },
    async close() {
      closed = true;
      for (const encoder of encoders.values()) await (await encoder).release();
      encoders.clear();
    },
  };
}
