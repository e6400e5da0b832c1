import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RequestEnd, RequestFacts } from './observer.ts';
import { RequestTraces } from './tracing.ts';

let exporter: InMemorySpanExporter;
beforeEach(() => {
  exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  trace.setGlobalTracerProvider(provider);
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
});
afterEach(() => {
  trace.disable();
  propagation.disable();
  context.disable();
});

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const request: RequestFacts = {
  id: 1,
  caller: 'camera-1',
  model: 'small@0.2.0',
  payloadBytes: 1000,
  slices: 2,
  sliceCount: 3,
  point: 3,
  pixels: 50_176,
  trace: { traceparent: `00-${TRACE_ID}-b7ad6b7169203331-01`, tracestate: 'vendor=1' },
};
const end: RequestEnd = { code: 'ok', reason: '', queueMs: 5, decodeMs: 2, inferMs: 10, totalMs: 20 };

const ms = ([seconds, nanoseconds]: [number, number]): number => 1000 * seconds + nanoseconds / 1e6;

test("a span for a request, under the client's, with what it was spent on", () => {
  new RequestTraces().ended(request, end);
  const spans = exporter.getFinishedSpans();
  const span = spans.find(({ name }) => name === 'raccoon.infer')!;
  expect(span.spanContext().traceId).toBe(TRACE_ID);
  expect(span.spanContext().traceState?.get('vendor')).toBe('1');
  expect(span.parentSpanContext?.spanId).toBe('b7ad6b7169203331');
  expect(span.kind).toBe(SpanKind.SERVER);
  expect(span.attributes).toMatchObject({
    'raccoon.model': 'small@0.2.0',
    'raccoon.payload_bytes': 1000,
    'raccoon.point': 3,
    'raccoon.slices': 2,
    'raccoon.slice_count': 3,
    'raccoon.code': 'ok',
  });
  expect(ms(span.duration)).toBeCloseTo(20, 0);

  const children = spans.filter(
    ({ parentSpanContext }) => parentSpanContext?.spanId === span.spanContext().spanId,
  );
  expect(children.map(({ name, duration }) => [name, Math.round(ms(duration))])).toEqual([
    ['raccoon.queue', 5],
    ['raccoon.decode', 2],
    ['raccoon.infer.run', 10],
  ]);
});

test('a request that was refused has no children and says why', () => {
  const refused = {
    ...end,
    code: 'corrupt-bitstream',
    reason: 'crc',
    queueMs: 0,
    decodeMs: 0,
    inferMs: 0,
  } as const;
  new RequestTraces().ended({ ...request, trace: undefined, point: undefined }, refused);
  const [span, ...others] = exporter.getFinishedSpans();
  expect(others).toEqual([]);
  expect(span!.parentSpanContext).toBeUndefined();
  expect(span!.status).toEqual({ code: SpanStatusCode.ERROR, message: 'corrupt-bitstream' });
  expect(span!.attributes).toMatchObject({ 'raccoon.reason': 'crc' });
});

test('a client that does not sample is not sampled; a parent that is none is no parent', () => {
  const traces = new RequestTraces();
  traces.ended({ ...request, trace: { traceparent: `00-${TRACE_ID}-b7ad6b7169203331-00` } }, end);
  expect(exporter.getFinishedSpans()).toEqual([]);
  traces.ended({ ...request, trace: { traceparent: 'garbage' } }, end);
  expect(exporter.getFinishedSpans().at(-1)!.parentSpanContext).toBeUndefined();
});

test('without an SDK nothing happens', () => {
  trace.disable();
  new RequestTraces().ended(request, end);
  expect(exporter.getFinishedSpans()).toEqual([]);
});
