import type { Deadline, sendUnaryData, Server, ServerUnaryCall } from '@grpc/grpc-js';
import { TransportError } from '../errors.ts';
import type { InferParameterOutput } from '../generated/inference/InferParameter.ts';
import type { ModelInferRequestOutput } from '../generated/inference/ModelInferRequest.ts';
import type {
  ModelInferResponseInput,
  _inference_ModelInferResponse_InferOutputTensorInput as OutputTensor,
} from '../generated/inference/ModelInferResponse.ts';
import type { ModelMetadataResponseInput } from '../generated/inference/ModelMetadataResponse.ts';
import type { InferRequest, Result, Unreadable } from '../messages.ts';
import type { Limits } from '../protocol.ts';
import { answer, RequestContext } from '../server-stream.ts';
import type { Caller, InferenceService, Origin } from '../transport.ts';
import type { Gate } from './gate.ts';
import type { Health } from './health.ts';
import { oipMethods, rawOf, readElements } from './oip-wire.ts';
import { toStatus } from './status.ts';

/** A bundle, as the Open Inference Protocol describes a model. */
export interface OipModel {
  readonly name: string;
  /** Newest first. */
  readonly versions: readonly string[];
  /** K */
  readonly classes: number;
}

/** What the front of the Open Inference Protocol asks of the service beyond inference. */
export interface OipModels {
  /** An empty name: the bundle that is served first. @throws TransportError 'not-found', 'forbidden' */
  model(name: string, caller: Caller): OipModel;
}

export interface OipParts {
  readonly service: InferenceService;
  readonly models: OipModels;
  readonly limits: Limits;
  readonly gate: Gate;
  readonly health: Health;
  /** Of the software, for ServerMetadata. */
  readonly version: string;
}

const INPUT = 'bitstream';
const OUTPUTS = ['classes', 'probabilities', 'logits', 'margin'] as const;
type OutputName = (typeof OUTPUTS)[number];
/** Classes of an image, unless `top_k` says otherwise. */
const TOP_K = 5;
const MAX_UINT32 = 0xffff_ffff;

/**
 * Adds inference.GRPCInferenceService: the Open Inference Protocol's way to the same service. Each bitstream of a ModelInfer is a
 * request of its own behind the same door as any other; the answer is for all of them, or the error of the first that fails.
 */
export function addOpenInference(server: Server, parts: OipParts): void {
  const { models, gate, health, version } = parts;

  /** Answers one kind of call with what `handle` returns, or with the status of what it throws. */
  const unary =
    <Q, S>(handle: (request: Q, origin: Origin, call: UnaryCall<Q, S>) => S | Promise<S>) =>
    (call: UnaryCall<Q, S>, reply: sendUnaryData<S>): void => {
      const handled = async (): Promise<S> => {
        const { origin } = gate.admit(call);
        const { request } = call;
        if (isUnreadable(request)) {
          throw new TransportError('bad-request', 'the cloud got a message that cannot be read');
        }
        return handle(request, origin, call);
      };
      handled().then(
        (answered) => reply(null, answered),
        (cause) => reply(toStatus(TransportError.from(cause))),
      );
    };

  const isReady = (name: string, wanted: string, caller: Caller): boolean => {
    const model = modelIfAny(models, name, caller);
    const known = wanted === '' || model?.versions.includes(wanted) === true;
    return model !== undefined && known && health.get(model.name) === 'SERVING';
  };

  server.addService(
    { ...forgiving(oipMethods) },
    {
      ServerLive: unary(() => ({ live: true })),
      ServerReady: unary(() => ({ ready: health.get('') === 'SERVING' })),
      ModelReady: unary(({ name, version: wanted }: { name: string; version: string }, { caller }) => ({
        ready: isReady(name, wanted, caller),
      })),
      ServerMetadata: unary(() => ({ name: 'raccoon', version, extensions: [] })),
      ModelMetadata: unary(({ name, version: wanted }: { name: string; version: string }, { caller }) =>
        metadataOf(versioned(models.model(name, caller), wanted)),
      ),
      ModelInfer: unary((request: ModelInferRequestOutput, origin, call) =>
        infer(parts, request, origin, call),
      ),
    },
  );
}

type UnaryCall<Q, S> = ServerUnaryCall<Q | Unreadable, S>;

async function infer(
  { service, models, limits }: OipParts,
  request: ModelInferRequestOutput,
  origin: Origin,
  call: Pick<ServerUnaryCall<unknown, unknown>, 'on' | 'getDeadline'>,
): Promise<ModelInferResponseInput> {
  const model = versioned(models.model(request.modelName, origin.caller), request.modelVersion);
  const bitstreams = bitstreamsOf(request);
  if (bitstreams.length > limits.maxInFlight) {
    const message = `${bitstreams.length} images in one request; the cloud takes ${limits.maxInFlight}: send fewer at once`;
    throw new TransportError('bad-request', message);
  }
  const wanted = outputsOf(request);
  const topK = Math.min(wholeParameter(request.parameters, 'top_k') ?? TOP_K, model.classes);
  const timeoutMs = timeoutOf(request.parameters, call.getDeadline());
  const images = bitstreams.map((payload, i): InferRequest => ({
    id: i + 1,
    payload,
    topK,
    wantLogits: wanted.includes('logits'),
    timeoutMs,
    bundle: model.name,
    ...(request.modelVersion !== '' && { bundleVersion: request.modelVersion }),
  }));
  const contexts = images.map((image) => new RequestContext(origin, image));
  const abort = (reason: TransportError): void => contexts.forEach((context) => context.abort(reason));
  call.on('cancelled', () => abort(new TransportError('cancelled', 'the client is gone')));

  let failure: TransportError | undefined;
  let answeredBy = '';
  const results = await Promise.all(
    images.map(async (image, i) => {
      const { result, error, bundleVersion } = await answer(service, limits, image, contexts[i]!);
      answeredBy = bundleVersion;
      if (result) return result;
      const which = images.length > 1 ? `image ${i}: ` : '';
      const { code, message, retryAfterMs } = error;
      failure ??= new TransportError(code, which + message, { retryAfterMs });
      abort(failure); // there will be no answer with the others'
      return undefined;
    }),
  );
  if (failure) throw failure;
  const tensors = wanted.map((name) => tensorOf(name, results as Result[], topK));
  const head = { modelName: model.name, modelVersion: answeredBy, id: request.id };
  // as it was asked: who writes JSON by hand wants to read it, too
  return request.rawInputContents.length > 0
    ? {
        ...head,
        outputs: tensors.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
        rawOutputContents: tensors.map(({ values }) => rawOf(values)),
      }
    : { ...head, outputs: tensors.map(typed) };
}

/** One for each image. @throws TransportError 'bad-request' */
function bitstreamsOf({ inputs, rawInputContents }: ModelInferRequestOutput): Uint8Array[] {
  const [input] = inputs;
  if (!input || inputs.length > 1 || input.name !== INPUT || input.datatype !== 'BYTES') {
    const got = inputs.map(({ name, datatype }) => `${name} ${datatype}`).join(', ') || 'none';
    throw bad(`the one input is ${INPUT} BYTES, not ${got}`);
  }
  const { shape, contents } = input;
  const inline = contents?.bytesContents ?? [];
  if (rawInputContents.length > (inline.length > 0 ? 0 : 1)) {
    throw bad('one of raw_input_contents and contents.bytes_contents holds the bitstreams, once');
  }
  const [raw] = rawInputContents;
  const elements = raw ? readElements(raw) : inline;
  if (!elements)
    throw bad('raw_input_contents: lengths (uint32, little-endian) and bytes do not fill it exactly');
  const [count, ...ones] = shape;
  if (ones.some((size) => size !== 1) || count !== elements.length || elements.length === 0) {
    throw bad(
      `shape [${shape.join(', ')}] with ${elements.length} bitstreams: [count] or [count, 1], at least one`,
    );
  }
  return elements;
}

/** Those that are asked for, in this order; all, when none is. @throws TransportError 'bad-request' */
function outputsOf({ outputs }: ModelInferRequestOutput): readonly OutputName[] {
  if (outputs.length === 0) return OUTPUTS;
  const names = outputs.map(({ name }) => {
    const known = OUTPUTS.find((output) => output === name);
    if (!known) throw bad(`there is no output ${name}: ask for ${OUTPUTS.join(', ')}`);
    return known;
  });
  return [...new Set(names)];
}

/** @throws TransportError 'bad-request' */
function wholeParameter(
  parameters: Readonly<Record<string, InferParameterOutput>>,
  name: string,
): number | undefined {
  if (!Object.hasOwn(parameters, name)) return undefined;
  const { int64Param, uint64Param } = parameters[name]!;
  const value = int64Param ?? uint64Param;
  if (value === undefined || !(value >= 1 && value <= MAX_UINT32)) {
    throw bad(`parameter ${name}: an int64 from 1 to ${MAX_UINT32}`);
  }
  return value;
}

/** ms, the sooner of Triton's parameter `timeout` (µs) and the call's own deadline; 0: neither. */
function timeoutOf(parameters: Readonly<Record<string, InferParameterOutput>>, deadline: Deadline): number {
  const asked = wholeParameter(parameters, 'timeout');
  const left = Number(deadline) - Date.now(); // Infinity without one
  const ms = Math.min(asked === undefined ? Infinity : asked / 1000, left);
  return ms === Infinity ? 0 : Math.min(Math.max(1, Math.ceil(ms)), MAX_UINT32);
}

interface Tensor {
  readonly name: OutputName;
  readonly datatype: 'INT32' | 'FP32';
  readonly shape: number[];
  readonly values: Float32Array | Int32Array;
}

/** An output for all images, (B, ...). */
function tensorOf(name: OutputName, results: readonly Result[], topK: number): Tensor {
  const batch = results.length;
  const top = results.flatMap((result) => result.top);
  switch (name) {
    case 'classes':
      return {
        name,
        datatype: 'INT32',
        shape: [batch, topK],
        values: Int32Array.from(top, ({ index }) => index),
      };
    case 'probabilities':
      return {
        name,
        datatype: 'FP32',
        shape: [batch, topK],
        values: Float32Array.from(top, ({ probability }) => probability),
      };
    case 'margin':
      return {
        name,
        datatype: 'FP32',
        shape: [batch],
        values: Float32Array.from(results, ({ margin }) => margin),
      };
    default: {
      const classes = results[0]!.logits!.length;
      const values = new Float32Array(batch * classes);
      for (const [i, { logits }] of results.entries()) values.set(logits!, i * classes);
      return { name, datatype: 'FP32', shape: [batch, classes], values };
    }
  }
}

function typed({ name, datatype, shape, values }: Tensor): OutputTensor {
  const contents = datatype === 'INT32' ? { intContents: [...values] } : { fp32Contents: [...values] };
  return { name, datatype, shape, contents };
}

function metadataOf({ name, versions, classes }: OipModel): ModelMetadataResponseInput {
  return {
    name,
    versions: [...versions],
    platform: 'raccoon',
    inputs: [{ name: INPUT, datatype: 'BYTES', shape: [-1] }],
    outputs: [
      { name: 'classes', datatype: 'INT32', shape: [-1, -1] },
      { name: 'probabilities', datatype: 'FP32', shape: [-1, -1] },
      { name: 'logits', datatype: 'FP32', shape: [-1, classes] },
      { name: 'margin', datatype: 'FP32', shape: [-1] },
    ],
  };
}

/** @throws TransportError 'not-found' */
function versioned(model: OipModel, version: string): OipModel {
  if (version === '' || model.versions.includes(version)) return model;
  const message = `this cloud serves ${model.name} ${model.versions.join(' and ')}, not ${version}`;
  throw new TransportError('not-found', message);
}

function modelIfAny(models: OipModels, name: string, caller: Caller): OipModel | undefined {
  try {
    return models.model(name, caller);
  } catch {
    return undefined; // whoever probes is told that it is not ready
  }
}

/** Bytes that make no sense reach the handler, which says so as for any other call. */
function forgiving(methods: typeof oipMethods): typeof oipMethods {
  const entries = Object.entries(methods).map(([name, method]) => [
    name,
    {
      ...method,
      requestDeserialize(bytes: Buffer): object {
        try {
          return method.requestDeserialize(bytes);
        } catch {
          return { kind: 'unreadable' } satisfies Unreadable;
        }
      },
    },
  ]);
  // the same methods
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return Object.fromEntries(entries) as typeof oipMethods;
}

function isUnreadable(request: unknown): request is Unreadable {
  return typeof request === 'object' && request !== null && 'kind' in request;
}

function bad(message: string): TransportError {
  return new TransportError('bad-request', message);
}
