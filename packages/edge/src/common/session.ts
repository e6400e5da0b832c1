import { EdgeError } from './errors.ts';
import type { Encoder } from './runtime.ts';

/** A tensor of ONNX Runtime, as far as an encoder needs it. */
interface Value {
  readonly data: unknown;
}

/** A session of ONNX Runtime, in Node and in browsers alike. */
interface Session<Tensor extends Value> {
  readonly inputMetadata: readonly {
    readonly name: string;
    readonly isTensor: boolean;
    readonly shape?: readonly (number | string)[];
  }[];
  readonly outputNames: readonly string[];
  run(feeds: Record<string, Tensor>, fetches: string[]): Promise<Record<string, Value>>;
  release(): Promise<void>;
}

export interface SessionOptions<Tensor extends Value> {
  /** Of the encoder's file, for messages. */
  readonly name: string;
  /** The platform's tensor over the edge's, of this shape: (1, 3, H, W). */
  readonly input: (shape: number[]) => Tensor;
  /** The output with the local exit's logits (1, K), where there is one. */
  readonly exitOutput: string | undefined;
  /** Runs and releases go through it: a platform may bear only one at a time. */
  readonly inTurn?: <T>(call: () => Promise<T>) => Promise<T>;
}

/** The output that is the latent (1, C, h, w), unless it is the only one. */
const LATENT = 'latent';

/** The encoder that a session runs. @throws EdgeError `encoder` when the graph is no encoder */
export function encoderOf<Tensor extends Value>(
  session: Session<Tensor>,
  { name, input, exitOutput, inTurn = (call) => call() }: SessionOptions<Tensor>,
): Encoder {
  const metadata = session.inputMetadata[0];
  if (!metadata?.isTensor || !metadata.shape) throw new EdgeError('encoder', `${name} has no tensor input`);
  const { outputNames } = session;
  const latentOutput = outputNames.length === 1 ? outputNames[0]! : LATENT;
  const all = exitOutput === undefined ? [latentOutput] : [latentOutput, exitOutput];
  for (const output of all) {
    if (!outputNames.includes(output)) {
      throw new EdgeError('encoder', `${name} has no output ${output}; it has ${outputNames.join(', ')}`);
    }
  }
  // the manifest's input size is the graph's, so its shape is fixed
  const feeds = { [metadata.name]: input(metadata.shape.map(Number)) };
  return {
    async run(withExit) {
      // ONNX Runtime may be given the outputs' memory; its Node binding then copies them all the same (1.30)
      const results = await inTurn(() => session.run(feeds, withExit ? all : [latentOutput]));
      return {
        latent: results[latentOutput]!.data as Float32Array,
        ...(withExit &&
          exitOutput !== undefined && { exitLogits: results[exitOutput]!.data as Float32Array }),
      };
    },
    release: () => inTurn(() => session.release()),
  };
}
