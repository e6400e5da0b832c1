import { propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, type Span } from '@opentelemetry/api';
import type { Observer, RequestEnd, RequestFacts } from './observer.ts';

/**
 * One span a request, with queue, decode and infer as its children, under the parent that the client named. The spans
 * are made when the request has ended, out of the times that it was measured with. Without an OpenTelemetry SDK in the
 * process nothing is recorded.
 */
export class RequestTraces implements Observer {
  readonly #tracer = trace.getTracer('@raccoon/cloud');

  arrived(): void {}

  ended(request: RequestFacts, end: RequestEnd): void {
    const { queueMs, decodeMs, inferMs, totalMs } = end;
    const start = Date.now() - totalMs;
    const parent = request.trace ? propagation.extract(ROOT_CONTEXT, { ...request.trace }) : ROOT_CONTEXT;
    const span = this.#tracer.startSpan('raccoon.infer', { kind: SpanKind.SERVER, startTime: start }, parent);
    if (!span.isRecording()) return; // as without an SDK: nothing more to do
    span.setAttributes(attributes(request, end));
    if (end.code !== 'ok') span.setStatus({ code: SpanStatusCode.ERROR, message: end.code });
    let at = start;
    for (const [name, ms] of [
      ['raccoon.queue', queueMs],
      ['raccoon.decode', decodeMs],
      ['raccoon.infer.run', inferMs],
    ] as const) {
      if (ms > 0) this.#child(span, name, at, at + ms);
      at += ms;
    }
    span.end(start + totalMs);
  }

  batch(): void {}

  worker(): void {}

  #child(parent: Span, name: string, startTime: number, endTime: number): void {
    this.#tracer.startSpan(name, { startTime }, trace.setSpan(ROOT_CONTEXT, parent)).end(endTime);
  }
}

function attributes(request: RequestFacts, { code, reason }: RequestEnd) {
  const { model, caller, payloadBytes, point, slices, sliceCount } = request;
  return {
    'raccoon.model': model,
    'raccoon.caller': caller,
    'raccoon.payload_bytes': payloadBytes,
    ...(point !== undefined && { 'raccoon.point': point }),
    ...(sliceCount > 1 && { 'raccoon.slices': slices, 'raccoon.slice_count': sliceCount }),
    'raccoon.code': code,
    ...(reason && { 'raccoon.reason': reason }),
  };
}
