import type { TransportErrorCode } from './errors.ts';
import type {
  BundleInfo,
  Hello,
  InferRequest,
  InferResponse,
  Load,
  ServiceWelcome,
  Welcome,
} from './messages.ts';

/** The client's side. Every method fails with a TransportError and nothing else. */
export interface Transport {
  /** Opens a stream and waits for the Welcome. `signal` ends the stream, at any time. */
  openStream(hello: Hello, options?: CallOptions): Promise<InferStream>;
  /** One image without a stream. A failure of the request is in the response; of the link, a rejection. */
  inferOnce(request: InferRequest, options?: CallOptions): Promise<InferResponse>;
  /** Without a name: the bundle that the cloud serves. */
  getBundle(name?: string): Promise<BundleInfo>;
  /** A file of a bundle from byte `offset` on, in chunks. */
  fetchFile(bundle: string, file: string, offset?: number): AsyncIterable<Uint8Array>;
  /** Ends the link; what is under way fails with 'cancelled'. */
  close(): Promise<void>;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
}

/** A stream of requests, answered out of order. */
export interface InferStream {
  readonly welcome: Welcome;
  /** What the cloud said last of its load; absent: nothing yet, or the Hello did not ask for it. */
  readonly load?: Load | undefined;
  /**
   * Resolves when the transport takes more: back-pressure. Waits while `welcome.maxInFlight` images have no answer.
   * What the cloud does not take (too many bytes; slices, of an older cloud) is answered here, without a byte on the wire.
   * A later slice waits for nothing, and is not sent when its image is answered by then.
   * @throws TransportError about the stream; 'payload-too-large' for a later slice, whose image is cancelled then
   */
  send(request: InferRequest): Promise<void>;
  /**
   * Whether the cloud wants the next slice of an image that was sent with a `stopMargin`: true once it asks for it, false
   * once the image is answered. One question for each slice. @throws TransportError when the link breaks first
   */
  wantsMore(id: number): Promise<boolean>;
  /** The request is still answered: with 'cancelled', or as usual when that was faster. */
  cancel(id: number): void;
  /**
   * One for each request, for one reader. Ends after `end()` and the last answer. Throws TransportError when the link
   * breaks, 'draining' when the cloud left in good order; answers that came before are delivered first.
   */
  readonly responses: AsyncIterable<InferResponse>;
  /** No more images; the later slices of those that were sent are still taken. */
  end(): void;
}

/** The server's side; the cloud package implements it. */
export interface InferenceService {
  /** @throws TransportError */
  hello(hello: Hello, caller: Caller): ServiceWelcome;
  /** Never rejects: errors are in the response. Payloads are within the limits; of an image in slices, it is the first. */
  infer(request: InferRequest, context: InferContext): Promise<InferResponse>;
  /**
   * For the service's books: the transport answered with an error by itself, a request or, without one, a Hello or a
   * message that cannot be read. Must not throw.
   */
  refused?(code: TransportErrorCode, caller: Caller, request?: InferRequest): void;
  /** For clients that share their images out among several clouds. Called often. Must not throw. */
  load?(): ServiceLoad;
  /** An empty name: the bundle that is served. @throws TransportError 'not-found' */
  getBundle(name: string, caller: Caller): BundleInfo | Promise<BundleInfo>;
  /** Chunks of any size. @throws TransportError 'not-found' */
  fetchFile(bundle: string, file: string, offset: number, caller: Caller): AsyncIterable<Uint8Array>;
}

/** How busy a service is, with all its streams. */
export interface ServiceLoad extends Omit<Load, 'queueMs'> {
  /** Without an answer. */
  readonly images: number;
}

/** Who asks: the holder of a token, or of a client certificate, or else whoever sits at an address. */
export interface Caller {
  /** For logs, fairness and limits: the token's name, the certificate's common name, or the host. */
  readonly name: string;
  /** The bundles that it may use; absent: all. */
  readonly bundles?: readonly string[];
  /** Its own rate limit; absent: the service's. */
  readonly imagesPerSecond?: number;
}

/** W3C Trace Context, as it came. */
export interface TraceContext {
  readonly traceparent: string;
  readonly tracestate?: string;
}

/** Where a call comes from. */
export interface Origin {
  /** The client's address, for the log. */
  readonly peer: string;
  readonly caller: Caller;
  /** That of the request, or else of its stream. */
  readonly trace?: TraceContext;
}

/** What a service needs of an AbortSignal. A whole one costs 10 µs, which is a tenth of what there is for a request. */
export interface CancelSignal {
  readonly aborted: boolean;
  /** Why, once it is aborted. */
  readonly reason: unknown;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** The slices of an image beyond the first, in order. */
export interface LaterSlices {
  /**
   * The next one. With a `margin`, the one so far, the client is asked for it, if it has not come by itself. Stays pending
   * when the client cancels or is gone.
   * @throws TransportError 'bad-request', 'payload-too-large': the client's mistake, and the image's answer
   */
  next(margin?: number): Promise<InferRequest>;
}

export interface InferContext extends Origin {
  /** Aborted when the client cancels or is gone: nobody needs the answer. */
  readonly signal: CancelSignal;
  /** When the request says that more slices come. */
  readonly later?: LaterSlices;
}
