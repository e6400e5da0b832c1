import { expect, test } from 'vitest';
import { errorTable, isErrorCode, TransportError } from './errors.ts';

test('an error keeps its code, its cause and its advice', () => {
  const cause = new Error('why');
  const error = new TransportError('overloaded', 'the queue is full', { cause, retryAfterMs: 40 });
  expect(error).toMatchObject({ name: 'TransportError', code: 'overloaded', cause, retryAfterMs: 40 });
  expect(TransportError.from(error)).toBe(error);
  expect(new TransportError('internal', 'odd')).not.toHaveProperty('cause');
});

test.each([
  [1, 'cancelled'],
  [2, 'internal'],
  [3, 'bad-request'],
  [4, 'deadline'],
  [5, 'not-found'],
  [7, 'forbidden'],
  [8, 'overloaded'],
  [9, 'unknown-codec'],
  [12, 'protocol'],
  [13, 'internal'],
  [14, 'unavailable'],
  [15, 'corrupt-bitstream'],
  [16, 'unauthenticated'],
  [99, 'internal'],
])('a bare gRPC status %d reads as %s', (status, code) => {
  const error = TransportError.from(
    Object.assign(new Error('8 X: words'), { code: status, details: 'words' }),
  );
  expect(error).toMatchObject({ code, message: 'words' });
});

test("gRPC's own size check is told from overload", () => {
  const details = 'Received message larger than max (70000 vs 1124)';
  expect(TransportError.from({ code: 8, details }).code).toBe('payload-too-large');
});

test.each(['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'ETIMEDOUT', 'EPIPE'])('%s is unavailable', (code) => {
  const error = TransportError.from(Object.assign(new Error(code), { code }), 'edge.example:7000');
  expect(error.code).toBe('unavailable');
  expect(error.message).toBe(
    'no Raccoon cloud answers at edge.example:7000 - is `raccoon cloud` running there?',
  );
});

test.each([
  [new TypeError('x is not a function'), 'x is not a function'],
  ['a string', 'a string'],
  [null, 'null'],
])('anything else is internal: %s', (thrown, message) => {
  expect(TransportError.from(thrown)).toMatchObject({ code: 'internal', message, cause: thrown });
});

test('only codes of the table are codes', () => {
  for (const code of Object.keys(errorTable)) expect(isErrorCode(code)).toBe(true);
  for (const code of ['', 'toString', 'INTERNAL']) expect(isErrorCode(code)).toBe(false);
});

test('an aborted signal is a cancel, unless it says better', () => {
  expect(TransportError.cancelled(AbortSignal.abort())).toMatchObject({ code: 'cancelled' });
  const reason = new TransportError('draining', 'going');
  expect(TransportError.cancelled(AbortSignal.abort(reason))).toBe(reason);
});
