import { pino, type DestinationStream, type Logger, type LoggerOptions } from 'pino';
import type { BatchFacts, Observer, RequestEnd, RequestFacts } from './observer.ts';

export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Structured lines: fields first, then words. Never a payload, never a token. */
export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error' | 'isLevelEnabled' | 'flush'> & {
  level: string;
};

/**
 * A log on stderr: JSON lines for machines, plain ones on a terminal.
 * @param stream somewhere else, for tests
 */
export function createLog(level: LogLevel, stream?: DestinationStream): Log {
  const options: LoggerOptions = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  if (stream) return pino(options, stream);
  return process.stderr.isTTY
    ? pino(options, { write: (line) => void process.stderr.write(readable(line)) })
    : pino(options, pino.destination({ dest: 2, sync: false }));
}

/** `{"level":40,"time":"2026-01-02T03:04:05.678Z","worker":2,"msg":"died"}` -> `03:04:05.678 warn  died worker=2`. */
export function readable(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const name = pino.levels.labels[Number(level)] ?? String(level);
  const rest = Object.entries(fields).map(
    ([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return `${String(time).slice(11, 23)} ${name.padEnd(5)} ${String(msg)}${rest.join('')}\n`;
}

/** How long a kind of line stays silent after it was written, ms. */
const QUIET_MS = 10_000;

/** Writes the requests that go wrong, and on level `debug` all. Thousands that go wrong alike are one line and a count. */
export class RequestLog implements Observer {
  readonly #log: Log;
  readonly #quiet = new Map<string, { until: number; suppressed: number }>();

  constructor(log: Log) {
    this.#log = log;
  }

  arrived(): void {}

  ended(request: RequestFacts, end: RequestEnd): void {
    const level = levelOf(end.code);
    if (!this.#log.isLevelEnabled(level)) return;
    const suppressed = level === 'debug' ? 0 : this.#suppressed(`${end.code} ${end.reason}`);
    if (suppressed === undefined) return;
    const { id, caller, model, payloadBytes, point, slices, sliceCount } = request;
    const inSlices = sliceCount > 1 && { slices, sliceCount };
    const fields = {
      id,
      caller,
      model,
      payloadBytes,
      point,
      ...inSlices,
      ...end,
      ...(suppressed > 0 && { suppressed }),
    };
    this.#log[level](fields, 'request');
  }

  batch(batch: BatchFacts): void {
    if (this.#log.isLevelEnabled('debug')) this.#log.debug({ ...batch }, 'batch');
  }

  worker(event: 'started' | 'died' | 'retired', worker: number): void {
    this.#log[event === 'died' ? 'error' : 'info']({ worker }, `worker ${event}`);
  }

  /** How many lines of this kind were left out since the last one; undefined: leave this one out, too. */
  #suppressed(kind: string): number | undefined {
    const now = performance.now();
    const before = this.#quiet.get(kind);
    if (before && now < before.until) {
      before.suppressed++;
      return undefined;
    }
    this.#quiet.set(kind, { until: now + QUIET_MS, suppressed: 0 });
    return before?.suppressed ?? 0;
  }
}

function levelOf(code: RequestEnd['code']): 'debug' | 'info' | 'warn' | 'error' {
  switch (code) {
    case 'ok':
      return 'debug';
    case 'cancelled':
    case 'deadline':
    case 'draining':
      return 'info'; // every client may, at any time
    case 'internal':
    case 'unavailable':
      return 'error'; // ours
    default:
      return 'warn';
  }
}
