import { beforeEach, expect, test } from 'vitest';
import { Metrics, type MetricSources } from './metrics.ts';
import type { RequestEnd, RequestFacts } from './observer.ts';

let metrics: Metrics;
let sources: MetricSources;
beforeEach(() => {
  sources = {
    pipeline: () => ({
      waiting: 3,
      bytes: 4000,
      oldestMs: 250,
      incomplete: 1,
      incompleteBytes: 700,
      workers: 2,
    }),
    models: () => [
      { name: 'small', version: '0.2.0', state: 'ready', loaded: true },
      { name: 'small', version: '0.1.0', state: 'superseded', loaded: false },
    ],
    modelFailures: () => new Map([['file-hash', 2]]),
    modelLoads: () => 5,
    ready: () => true,
    draining: () => false,
    connections: () => 9,
    certificateExpires: () => new Date(1_800_000_000_000),
    unauthenticated: () => 1,
    knows: (caller) => caller === 'camera-1',
  };
  metrics = new Metrics(sources);
});

const request = (changes: Partial<RequestFacts> = {}): RequestFacts => ({
  id: 1,
  caller: 'camera-1',
  model: 'small@0.2.0',
  payloadBytes: 1000,
  slices: 1,
  sliceCount: 1,
  point: 0,
  pixels: 50_000,
  trace: undefined,
  ...changes,
});
const end = (code: RequestEnd['code'], reason = ''): RequestEnd => ({
  code,
  reason,
  queueMs: 3,
  decodeMs: 0.4,
  inferMs: 20,
  totalMs: 30,
});

/** The lines of one metric, without its comments. */
async function values(name: string): Promise<string[]> {
  return (await metrics.text()).split('\n').filter((line) => line.startsWith(name));
}

test('requests by code and reason, of every version of a bundle', async () => {
  for (let i = 0; i < 3; i++) metrics.ended(request(), end('ok'));
  metrics.ended(request({ model: 'small@0.1.0#2' }), end('ok'));
  metrics.ended(request(), end('corrupt-bitstream', 'crc'));
  metrics.ended(request(), end('corrupt-bitstream', 'crc'));
  metrics.ended(request({ model: '', pixels: 0 }), end('unknown-codec'));
  const lines = [
    'raccoon_requests_total{bundle="small",code="ok",reason=""} 4',
    'raccoon_requests_total{bundle="small",code="corrupt-bitstream",reason="crc"} 2',
    'raccoon_requests_total{bundle="",code="unknown-codec",reason=""} 1',
  ];
  expect(await values('raccoon_requests_total')).toEqual(lines);
  expect(await values('raccoon_requests_total')).toEqual(lines); // a scrape changes nothing
});

test('times in seconds, sizes in bytes, in buckets that add up', async () => {
  metrics.ended(request(), end('ok'));
  metrics.ended(request({ payloadBytes: 70_000 }), end('deadline'));
  const infer = await values('raccoon_infer_seconds');
  expect(infer).toContain('raccoon_infer_seconds_bucket{bundle="small",le="0.01"} 0');
  expect(infer).toContain('raccoon_infer_seconds_bucket{bundle="small",le="0.025"} 1');
  expect(infer).toContain('raccoon_infer_seconds_bucket{bundle="small",le="+Inf"} 1');
  expect(infer).toContain('raccoon_infer_seconds_sum{bundle="small"} 0.02');
  expect(infer).toContain('raccoon_infer_seconds_count{bundle="small"} 1'); // only what was answered
  expect(await values('raccoon_request_seconds_count')).toEqual([
    'raccoon_request_seconds_count{bundle="small"} 2',
  ]);
  const bytes = await values('raccoon_payload_bytes_bucket');
  expect(bytes).toContain('raccoon_payload_bytes_bucket{bundle="small",le="1024"} 1');
  expect(bytes).toContain('raccoon_payload_bytes_bucket{bundle="small",le="65536"} 1');
  expect(bytes).toContain('raccoon_payload_bytes_bucket{bundle="small",le="+Inf"} 2');
  expect(await values('raccoon_payload_bits_per_pixel_bucket{bundle="small",le="0.2"}')).toEqual([
    'raccoon_payload_bits_per_pixel_bucket{bundle="small",le="0.2"} 1', // 8000 / 50000
  ]);
});

test('a backend has two metrics, where there is one', async () => {
  expect(await values('raccoon_backend')).toEqual([]);
  let backendReady = true;
  const withBackend = new Metrics({ ...sources, backendReady: () => backendReady });
  withBackend.batch({ model: 'small@0.2.0', worker: 0, images: 1, dropped: 0, ...TIMES, retries: 2 });
  expect(await withBackend.text()).toContain('\nraccoon_backend_ready 1\n');
  expect(await withBackend.text()).toContain('\nraccoon_backend_retries_total 2\n');
  backendReady = false;
  expect(await withBackend.text()).toContain('\nraccoon_backend_ready 0\n');
});

const TIMES = { decodeMs: 1, inferMs: 1, retries: 0 };

test('a value on a bound is in its bucket', async () => {
  metrics.batch({ model: 'small@0.2.0', worker: 0, images: 16, dropped: 2, ...TIMES });
  metrics.batch({ model: 'small@0.2.0', worker: 0, images: 17, dropped: 1, ...TIMES });
  const lines = await values('raccoon_batch');
  expect(lines).toContain('raccoon_batch_images_bucket{bundle="small",le="8"} 0');
  expect(lines).toContain('raccoon_batch_images_bucket{bundle="small",le="16"} 1');
  expect(lines).toContain('raccoon_batch_images_bucket{bundle="small",le="32"} 2');
  expect(lines).toContain('raccoon_batch_images_sum{bundle="small"} 33');
  expect(lines).toContain('raccoon_batch_dropped_total{bundle="small"} 3');
});

test('only callers that the operator named become labels', async () => {
  for (let i = 0; i < 100; i++) metrics.ended(request({ caller: `10.0.0.${i}` }), end('ok'));
  metrics.ended(request(), end('ok'));
  metrics.ended(request(), end('rate-limited', 'rate'));
  expect(await values('raccoon_caller_requests_total')).toEqual([
    'raccoon_caller_requests_total{caller="camera-1",code="ok"} 1',
    'raccoon_caller_requests_total{caller="camera-1",code="rate-limited"} 1',
  ]);
});

test('images in slices, and those that did not need all of them', async () => {
  metrics.ended(request(), end('ok'));
  expect(await values('raccoon_slices_total')).toEqual([]);
  metrics.ended(request({ slices: 4, sliceCount: 4 }), end('ok'));
  metrics.ended(request({ slices: 2, sliceCount: 4 }), end('ok'));
  metrics.ended(request({ slices: 1, sliceCount: 4 }), end('cancelled'));
  expect(await values('raccoon_slices_total')).toEqual(['raccoon_slices_total{bundle="small"} 7']);
  expect(await values('raccoon_early_answers_total')).toEqual([
    'raccoon_early_answers_total{bundle="small"} 1',
  ]);
});

test('what is now, at the scrape', async () => {
  metrics.arrived();
  metrics.arrived();
  metrics.ended(request(), end('ok'));
  metrics.worker('started');
  metrics.worker('died');
  const text = await metrics.text();
  for (const line of [
    'raccoon_in_flight 1',
    'raccoon_queue_requests 3',
    'raccoon_queue_bytes 4000',
    'raccoon_queue_oldest_seconds 0.25',
    'raccoon_incomplete_requests 1',
    'raccoon_incomplete_bytes 700',
    'raccoon_workers 2',
    'raccoon_connections 9',
    'raccoon_ready 1',
    'raccoon_draining 0',
    'raccoon_certificate_expiry_timestamp_seconds 1800000000',
    'raccoon_unauthenticated_total 1',
    'raccoon_worker_events_total{event="died"} 1',
    'raccoon_model_loads_total 5',
    'raccoon_model_failures_total{code="file-hash"} 2',
    'raccoon_models{state="superseded"} 1',
    'raccoon_model_info{bundle="small",version="0.2.0",state="ready"} 1',
  ]) {
    expect(text.split('\n')).toContain(line);
  }
  expect(text).not.toContain('version="0.1.0"'); // versions that nobody loaded are no labels
  expect(text).toContain('nodejs_eventloop_lag_p99_seconds');
});
