import { beforeEach, expect, test } from 'vitest';
import { createLog, readable, RequestLog, type LogLevel } from './log.ts';
import type { RequestEnd, RequestFacts } from './observer.ts';

let lines: Record<string, unknown>[];
beforeEach(() => {
  lines = [];
});

function requestLog(level: LogLevel): RequestLog {
  return new RequestLog(createLog(level, { write: (line) => void lines.push(JSON.parse(line) as never) }));
}

const request: RequestFacts = {
  id: 7,
  caller: 'camera-1',
  model: 'small@0.1.0',
  payloadBytes: 900,
  slices: 1,
  sliceCount: 1,
  point: 2,
  pixels: 50_176,
  trace: undefined,
};
const end = (code: RequestEnd['code'], reason = ''): RequestEnd => ({
  code,
  reason,
  queueMs: 1,
  decodeMs: 2,
  inferMs: 3,
  totalMs: 7,
});

test('a request that went well is only written on level debug', () => {
  requestLog('info').ended(request, end('ok'));
  expect(lines).toEqual([]);
  requestLog('debug').ended(request, end('ok'));
  expect(lines).toMatchObject([{ level: 20, id: 7, caller: 'camera-1', code: 'ok', inferMs: 3 }]);
  expect(lines[0]).not.toHaveProperty('slices');
  requestLog('debug').ended({ ...request, slices: 2, sliceCount: 3 }, end('ok'));
  expect(lines[1]).toMatchObject({ slices: 2, sliceCount: 3 });
});

test.each([
  ['deadline', 30],
  ['corrupt-bitstream', 40],
  ['overloaded', 40],
  ['internal', 50],
] as const)('%s has level %i', (code, level) => {
  requestLog('debug').ended(request, end(code, 'why'));
  expect(lines).toMatchObject([{ level, code, reason: 'why', model: 'small@0.1.0' }]);
});

test('what goes wrong alike again and again is one line', () => {
  const log = requestLog('info');
  for (let i = 0; i < 1000; i++) log.ended(request, end('corrupt-bitstream', 'crc'));
  log.ended(request, end('corrupt-bitstream', 'length'));
  expect(lines.map(({ reason }) => reason)).toEqual(['crc', 'length']);
});

test('a worker that dies is an error', () => {
  const log = requestLog('warn');
  log.worker('started', 1);
  log.worker('died', 1);
  expect(lines).toMatchObject([{ level: 50, worker: 1, msg: 'worker died' }]);
});

test('on a terminal a line is for people', () => {
  const line = '{"level":40,"time":"2026-01-02T03:04:05.678Z","worker":2,"why":"gone","msg":"died"}\n';
  expect(readable(line)).toBe('03:04:05.678 warn  died worker=2 why=gone\n');
});
