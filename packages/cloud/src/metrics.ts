import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import { Histogram, type Series } from './histogram.ts';
import type { BatchFacts, Observer, RequestEnd, RequestFacts } from './observer.ts';
import type { PipelineStats } from './pipeline.ts';
import type { ModelState } from './repository.ts';

/** What is asked when somebody scrapes. Sizes in bytes, times in ms. */
export interface MetricSources {
  /** Requests and their payloads that wait, and since when the oldest does. */
  pipeline(): Pick<
    PipelineStats,
    'waiting' | 'bytes' | 'oldestMs' | 'incomplete' | 'incompleteBytes' | 'workers'
  >;
  /** Every version that is known. */
  models(): readonly { name: string; version: string; state: ModelState; loaded: boolean }[];
  /** Versions that could not be taken, by why. */
  modelFailures(): ReadonlyMap<string, number>;
  /** Versions taken into service. */
  modelLoads(): number;
  ready(): boolean;
  draining(): boolean;
  /** Connections that are open. */
  connections(): number;
  /** When the TLS certificate in use ends. */
  certificateExpires(): Date | undefined;
  /** Calls without a token, or with one that nobody knows. */
  unauthenticated(): number;
  /** Whether the server that runs the networks is ready; absent: the workers run them. */
  backendReady?(): boolean;
  /** Whether a caller is one of the operator's own: others' names must not become labels. */
  knows(caller: string): boolean;
}

/** 0.2 ms to 10 s. */
const SECONDS = [
  0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
] as const;
const IMAGES = [1, 2, 4, 8, 16, 32, 64, 128, 256] as const;
const BYTES = [64, 256, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16_384, 32_768, 65_536] as const;
const BITS_PER_PIXEL = [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2, 4, 8] as const;

/** What is counted of one bundle. */
interface BundleSeries {
  readonly bundle: string;
  readonly queue: Series;
  readonly decode: Series;
  readonly infer: Series;
  readonly total: Series;
  readonly payload: Series;
  readonly bitsPerPixel: Series;
  readonly batch: Series;
  /** Requests that ended well. */
  ok: number;
  /** Others, by code and reason. */
  readonly failed: Map<string, { code: string; reason: string; count: number }>;
  dropped: number;
  /** Of images in slices: the slices that came, */
  slices: number;
  /** and images that were answered before the last. */
  early: number;
}

/**
 * The service's metrics, for Prometheus. A request costs a few additions; names, labels and text are made at a scrape.
 * Labels are bounded: bundles, codes, reasons, and callers that have a token.
 */
export class Metrics implements Observer {
  readonly registry: Registry = new Registry();
  readonly #sources: MetricSources;
  readonly #histograms: Record<
    'queue' | 'decode' | 'infer' | 'total' | 'payload' | 'bitsPerPixel' | 'batch',
    Histogram
  >;
  readonly #bundles = new Map<string, BundleSeries>();
  /** By `name@version`: saves cutting the name out of it for every request. */
  readonly #models = new Map<string, BundleSeries>();
  readonly #callers = new Map<string, Map<string, number>>();
  readonly #workers = { started: 0, died: 0, retired: 0 };
  #backendRetries = 0;
  #arrived = 0;
  #ended = 0;

  constructor(sources: MetricSources) {
    this.#sources = sources;
    collectDefaultMetrics({ register: this.registry });
    const histogram = (name: string, help: string, bounds: readonly number[]): Histogram =>
      new Histogram(this.registry, name, help, bounds);
    this.#histograms = {
      queue: histogram('raccoon_queue_seconds', 'Time in the queue, of answered requests', SECONDS),
      decode: histogram('raccoon_decode_seconds', 'Entropy decoding of the batch of a request', SECONDS),
      infer: histogram('raccoon_infer_seconds', 'Networks run on the batch of a request', SECONDS),
      total: histogram('raccoon_request_seconds', 'Arrival to answer, of all requests', SECONDS),
      payload: histogram('raccoon_payload_bytes', 'Bytes of a bitstream', BYTES),
      bitsPerPixel: histogram('raccoon_payload_bits_per_pixel', 'Bits per input pixel', BITS_PER_PIXEL),
      batch: histogram('raccoon_batch_images', 'Images that ran together', IMAGES),
    };
    this.#count('raccoon_requests_total', 'Requests that ended', ['bundle', 'code', 'reason'], (add) => {
      for (const { bundle, ok, failed } of this.#bundles.values()) {
        if (ok > 0) add({ bundle, code: 'ok', reason: '' }, ok);
        for (const { code, reason, count } of failed.values()) add({ bundle, code, reason }, count);
      }
    });
    this.#count(
      'raccoon_caller_requests_total',
      'Requests that ended, of callers with a token',
      ['caller', 'code'],
      (add) => {
        for (const [caller, codes] of this.#callers)
          for (const [code, count] of codes) add({ caller, code }, count);
      },
    );
    this.#count(
      'raccoon_batch_dropped_total',
      'Requests dropped when their batch was cut',
      ['bundle'],
      (add) => {
        for (const { bundle, dropped } of this.#bundles.values()) add({ bundle }, dropped);
      },
    );
    this.#count('raccoon_slices_total', 'Slices that came, of images in slices', ['bundle'], (add) => {
      for (const { bundle, slices } of this.#bundles.values()) if (slices > 0) add({ bundle }, slices);
    });
    this.#count(
      'raccoon_early_answers_total',
      'Images answered before their last slice',
      ['bundle'],
      (add) => {
        for (const { bundle, slices, early } of this.#bundles.values())
          if (slices > 0) add({ bundle }, early);
      },
    );
    this.#count('raccoon_unauthenticated_total', 'Calls without a token that is known', [], (add) =>
      add({}, sources.unauthenticated()),
    );
    this.#count('raccoon_worker_events_total', 'Workers that started, died, retired', ['event'], (add) => {
      for (const [event, count] of Object.entries(this.#workers)) add({ event }, count);
    });
    this.#count('raccoon_model_loads_total', 'Versions taken into service', [], (add) =>
      add({}, sources.modelLoads()),
    );
    this.#count('raccoon_model_failures_total', 'Versions not taken, by why', ['code'], (add) => {
      for (const [code, count] of sources.modelFailures()) add({ code }, count);
    });

    this.#gauge('raccoon_in_flight', 'Requests without an answer', () => this.#arrived - this.#ended);
    this.#gauge('raccoon_queue_requests', 'Requests that wait', () => sources.pipeline().waiting);
    this.#gauge('raccoon_queue_bytes', 'Their payloads', () => sources.pipeline().bytes);
    this.#gauge(
      'raccoon_queue_oldest_seconds',
      'How long the oldest has waited',
      () => sources.pipeline().oldestMs / 1000,
    );
    this.#gauge(
      'raccoon_incomplete_requests',
      "Images that wait for their client's next slice",
      () => sources.pipeline().incomplete,
    );
    this.#gauge(
      'raccoon_incomplete_bytes',
      'Bytes of their slices',
      () => sources.pipeline().incompleteBytes,
    );
    this.#gauge('raccoon_workers', 'Workers that are alive', () => sources.pipeline().workers);
    this.#gauge('raccoon_connections', 'Connections that are open', () => sources.connections());
    this.#gauge(
      'raccoon_certificate_expiry_timestamp_seconds',
      'When the TLS certificate ends, Unix time; 0 without TLS',
      () => (sources.certificateExpires()?.getTime() ?? 0) / 1000,
    );
    this.#gauge('raccoon_ready', '1 while requests are served', () => Number(sources.ready()));
    this.#gauge('raccoon_draining', '1 from SIGTERM on', () => Number(sources.draining()));
    if (sources.backendReady) {
      this.#gauge('raccoon_backend_ready', '1 while the backend runs every model', () =>
        Number(sources.backendReady!()),
      );
      this.#count('raccoon_backend_retries_total', 'Batches that a second try saved', [], (add) =>
        add({}, this.#backendRetries),
      );
    }
    this.#modelGauges();
  }

  /** Prometheus' text format. */
  text(): Promise<string> {
    return this.registry.metrics();
  }

  arrived(): void {
    this.#arrived++;
  }

  ended(request: RequestFacts, { code, reason, queueMs, decodeMs, inferMs, totalMs }: RequestEnd): void {
    this.#ended++;
    const series = this.#of(request.model);
    series.total.observe(totalMs / 1000);
    if (request.pixels > 0) {
      series.payload.observe(request.payloadBytes);
      series.bitsPerPixel.observe((8 * request.payloadBytes) / request.pixels);
    }
    if (request.sliceCount > 1) {
      series.slices += request.slices;
      if (code === 'ok' && request.slices < request.sliceCount) series.early++;
    }
    if (code === 'ok') {
      series.ok++;
      series.queue.observe(queueMs / 1000);
      series.decode.observe(decodeMs / 1000);
      series.infer.observe(inferMs / 1000);
    } else {
      const key = `${code} ${reason}`;
      const entry = series.failed.get(key);
      if (entry) entry.count++;
      else series.failed.set(key, { code, reason, count: 1 });
    }
    let codes = this.#callers.get(request.caller);
    if (!codes) {
      if (!this.#sources.knows(request.caller)) return;
      this.#callers.set(request.caller, (codes = new Map()));
    }
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }

  batch({ model, images, dropped, retries }: BatchFacts): void {
    const series = this.#of(model);
    this.#backendRetries += retries;
    if (images > 0) series.batch.observe(images);
    series.dropped += dropped;
  }

  worker(event: 'started' | 'died' | 'retired'): void {
    this.#workers[event]++;
  }

  #of(model: string): BundleSeries {
    return this.#models.get(model) ?? this.#newSeries(model);
  }

  #newSeries(model: string): BundleSeries {
    const bundle = model.split('@')[0]!;
    let series = this.#bundles.get(bundle);
    if (!series) {
      const { queue, decode, infer, total, payload, bitsPerPixel, batch } = this.#histograms;
      series = {
        bundle,
        queue: queue.series(bundle),
        decode: decode.series(bundle),
        infer: infer.series(bundle),
        total: total.series(bundle),
        payload: payload.series(bundle),
        bitsPerPixel: bitsPerPixel.series(bundle),
        batch: batch.series(bundle),
        ok: 0,
        failed: new Map(),
        dropped: 0,
        slices: 0,
        early: 0,
      };
      this.#bundles.set(bundle, series);
    }
    if (this.#models.size >= 1000) this.#models.clear(); // versions come and go
    this.#models.set(model, series);
    return series;
  }

  #modelGauges(): void {
    const sources = this.#sources;
    this.registry.registerMetric(
      new Gauge({
        name: 'raccoon_models',
        help: 'Versions of bundles, by state',
        labelNames: ['state'],
        registers: [],
        collect() {
          this.reset();
          for (const { state } of sources.models()) this.inc({ state });
        },
      }),
    );
    this.registry.registerMetric(
      new Gauge({
        name: 'raccoon_model_info',
        help: '1 for each version that workers have loaded',
        labelNames: ['bundle', 'version', 'state'],
        registers: [],
        collect() {
          this.reset();
          for (const { name, version, state, loaded } of sources.models())
            if (loaded) this.set({ bundle: name, version, state }, 1);
        },
      }),
    );
  }

  #gauge(name: string, help: string, value: () => number): void {
    this.registry.registerMetric(
      new Gauge({
        name,
        help,
        registers: [],
        collect() {
          this.set(value());
        },
      }),
    );
  }

  #count<Label extends string>(
    name: string,
    help: string,
    labelNames: Label[],
    fill: (add: (labels: Partial<Record<Label, string>>, count: number) => void) => void,
  ): void {
    this.registry.registerMetric(
      new Counter({
        name,
        help,
        labelNames,
        registers: [],
        collect() {
          this.reset();
          fill((labels, count) => this.inc(labels, count));
        },
      }),
    );
  }
}
