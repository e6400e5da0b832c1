import { Client, credentials, Metadata, type ChannelCredentials } from '@grpc/grpc-js';
import { TransportError } from '../errors.ts';
import type {
  ModelInferResponseOutput,
  _inference_ModelInferResponse_InferOutputTensorOutput as OutputTensor,
} from '../generated/inference/ModelInferResponse.ts';
import { oipMethods, rawOf } from './oip-wire.ts';
import { channelCredentials, type ClientTls } from './tls.ts';

export interface OipClientOptions {
  /** `true`: by the authorities that Node knows. Absent: without TLS. */
  readonly tls?: ClientTls | true;
}

/** A tensor on its way to a server. */
export interface OipInput {
  readonly name: string;
  /** As the protocol writes it: `INT16`. */
  readonly datatype: string;
  readonly shape: readonly number[];
  /** Elements, row-major, little-endian. */
  readonly data: Uint8Array;
}

/** A tensor of an answer. */
export interface OipOutput {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  /** Its elements, where it is FP32. */
  readonly floats?: Float32Array;
}

/** The client's side of the Open Inference Protocol. Every method fails with a TransportError and nothing else. */
export interface OipClient {
  modelReady(model: string, timeoutMs: number): Promise<boolean>;
  infer(
    model: string,
    inputs: readonly OipInput[],
    outputs: readonly string[],
    timeoutMs: number,
  ): Promise<readonly OipOutput[]>;
  /** Resolves once there is a connection. @throws TransportError 'unavailable': none in time */
  connected(timeoutMs: number): Promise<void>;
  close(): void;
}

/**
 * Connects to a server at `address`, host:port; calls take turns among all addresses behind a host's name. The connections are made
 * with the first call, and again when they break.
 * @throws TransportError 'bad-request' for TLS files that cannot be used
 */
export function connectOip(address: string, { tls }: OipClientOptions = {}): OipClient {
  return new GrpcOipClient(address, tls ? channelCredentials(tls) : credentials.createInsecure());
}

/** What a call needs of a method. */
interface Method<Q, S> {
  readonly path: string;
  readonly requestSerialize: (request: Q) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => S;
}

class GrpcOipClient implements OipClient {
  readonly #client: Client;

  constructor(address: string, channel: ChannelCredentials) {
    this.#client = new Client(address, channel, {
      'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
      'grpc.max_receive_message_length': -1, // its operator is ours
      'grpc.max_send_message_length': -1,
      'grpc.keepalive_time_ms': 20_000,
      'grpc.keepalive_timeout_ms': 10_000,
      'grpc.max_reconnect_backoff_ms': 2000,
      'grpc.enable_channelz': 0,
    });
  }

  async modelReady(name: string, timeoutMs: number): Promise<boolean> {
    const { ready } = await this.#call(oipMethods.ModelReady, { name }, timeoutMs);
    return ready;
  }

  async infer(
    modelName: string,
    inputs: readonly OipInput[],
    outputs: readonly string[],
    timeoutMs: number,
  ): Promise<readonly OipOutput[]> {
    const request = {
      modelName,
      inputs: inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape: [...shape] })),
      outputs: outputs.map((name) => ({ name })),
      rawInputContents: inputs.map(({ data }) => data),
    };
    return outputsOf(await this.#call(oipMethods.ModelInfer, request, timeoutMs));
  }

  connected(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.waitForReady(Date.now() + timeoutMs, (error) => {
        if (error) reject(new TransportError('unavailable', `no connection within ${timeoutMs} ms`));
        else resolve();
      });
    });
  }

  close(): void {
    this.#client.close();
  }

  #call<Q, S>(
    { path, requestSerialize, responseDeserialize }: Method<Q, S>,
    request: Q,
    timeoutMs: number,
  ): Promise<S> {
    return new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + timeoutMs };
      this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        new Metadata(),
        options,
        (error, response) => {
          if (response === undefined) reject(failureOf(error));
          else resolve(response);
        },
      );
    });
  }
}

/** Of what grpc-js says of a connection that cannot be made, the cause alone. */
function failureOf(cause: unknown): TransportError {
  const { code, message } = TransportError.from(cause);
  const [, last] =
    /Last error: (?:Error: )?((?:(?!Last error: ).)+?)\. Resolution note: $/.exec(message) ?? [];
  return new TransportError(code, last ?? message, { cause });
}

/** Servers answer in the raw form or in the typed one. */
function outputsOf({ outputs, rawOutputContents }: ModelInferResponseOutput): OipOutput[] {
  return outputs.map(({ name, datatype, shape, contents }, i) => {
    const floats = datatype === 'FP32' ? floatsOf(rawOutputContents[i], contents) : undefined;
    return { name, datatype, shape, ...(floats && { floats }) };
  });
}

function floatsOf(raw: Buffer | undefined, contents: OutputTensor['contents']): Float32Array | undefined {
  if (!raw) return contents ? Float32Array.from(contents.fp32Contents) : undefined;
  if (raw.length % 4 > 0) return undefined;
  const floats = new Float32Array(raw.length / 4); // a copy, which is aligned
  rawOf(floats).set(raw);
  return floats;
}
