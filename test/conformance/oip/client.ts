import { fileURLToPath } from 'node:url';
import { Client, credentials, Metadata, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { loadSync, type ServiceDefinition } from '@grpc/proto-loader';

// A client of the Open Inference Protocol that goes by the .proto file alone.

const proto = fileURLToPath(new URL('../../../proto', import.meta.url));
const types = loadSync('inference/open_inference.proto', {
  includeDirs: [proto],
  defaults: true,
  longs: Number,
  oneofs: true,
});
const methods = types['inference.GRPCInferenceService'] as ServiceDefinition;

export interface Tensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly contents: { readonly intContents: number[]; readonly fp32Contents: number[] } | null;
}

export interface Answer {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly id: string;
  readonly outputs: readonly Tensor[];
  readonly rawOutputContents: readonly Buffer[];
}

export interface CallSettings {
  readonly token?: string;
  readonly deadlineMs?: number;
}

export class OipCaller {
  readonly #client: Client;

  constructor(address: string) {
    this.#client = new Client(address, credentials.createInsecure());
  }

  /** @throws ServiceError */
  call<T>(method: string, request: object | Buffer = {}, settings: CallSettings = {}): Promise<T> {
    return this.start<T>(method, request, settings).answer;
  }

  /** A call that can be cancelled. */
  start<T>(
    method: string,
    request: object | Buffer,
    { token, deadlineMs }: CallSettings = {},
  ): { readonly answer: Promise<T>; readonly cancel: () => void } {
    const { path, requestSerialize, responseDeserialize } = methods[method]!;
    const metadata = new Metadata();
    if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
    const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
    let cancel!: () => void;
    const answer = new Promise<T>((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        path,
        (message: object | Buffer) => (Buffer.isBuffer(message) ? message : requestSerialize(message)),
        (bytes) => responseDeserialize(bytes) as T,
        request,
        metadata,
        options,
        (error, response) => (error ? reject(error) : resolve(response!)),
      );
      cancel = () => call.cancel();
    });
    return { answer, cancel };
  }

  infer(request: object, settings?: CallSettings): Promise<Answer> {
    return this.call('ModelInfer', request, settings);
  }

  /** The status of a call that must fail. */
  async failure(method: string, request: object | Buffer, settings?: CallSettings): Promise<StatusObject> {
    try {
      await this.call(method, request, settings);
    } catch (error) {
      return error as ServiceError;
    }
    throw new Error(`${method} did not fail`);
  }

  close(): void {
    this.#client.close();
  }
}

/** A ModelInferRequest with bitstreams in the raw form. */
export function rawRequest(modelName: string, bitstreams: readonly Uint8Array[], rest: object = {}): object {
  return {
    modelName,
    inputs: [{ name: 'bitstream', datatype: 'BYTES', shape: [bitstreams.length] }],
    rawInputContents: [rawBytes(bitstreams)],
    ...rest,
  };
}

/** Elements of BYTES: each its length and its bytes. */
export function rawBytes(elements: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    elements.flatMap((element) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(element.length);
      return [length, element];
    }),
  );
}

/** An output's numbers, in whichever form they came. */
export function numbers({ outputs, rawOutputContents }: Answer, name: string): number[] {
  const at = outputs.findIndex((output) => output.name === name);
  const { datatype, contents } = outputs[at]!;
  const raw = rawOutputContents[at];
  if (!raw) return datatype === 'INT32' ? contents!.intContents : contents!.fp32Contents;
  return Array.from({ length: raw.length / 4 }, (_, i) =>
    datatype === 'INT32' ? raw.readInt32LE(4 * i) : raw.readFloatLE(4 * i),
  );
}
