import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { LinkSettings } from './protocol.ts';
import { slowLink } from './slow-link.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

const AS_IT_IS: LinkSettings = { bytesPerSecond: Infinity, rttMs: 0, cut: false };
const post = (bytes: number, signal?: AbortSignal): RequestInit => ({
  method: 'POST',
  body: new Uint8Array(bytes),
  ...(signal && { signal }),
});

/** A link, and what passes it: `sent` and `answered` at these times, ms. */
function link(settings: Partial<LinkSettings>): {
  link: typeof fetch;
  sent: number[];
  answered: number[];
  settings: LinkSettings;
  send: (bytes: number, signal?: AbortSignal) => Promise<void>;
} {
  const start = performance.now();
  const all = {
    settings: { ...AS_IT_IS, ...settings },
    sent: [] as number[],
    answered: [] as number[],
  };
  const slow = slowLink(
    () => all.settings,
    async () => {
      all.sent.push(performance.now() - start);
      return new Response('answer');
    },
  );
  return Object.assign(all, {
    link: slow,
    async send(bytes: number, signal?: AbortSignal) {
      await slow('http://cloud/infer', post(bytes, signal));
      all.answered.push(performance.now() - start);
    },
  });
}

test('as it is, it adds nothing', async () => {
  const { send, sent, answered } = link({});
  const done = send(2000);
  await vi.advanceTimersByTimeAsync(0);
  await done;
  expect([sent, answered]).toEqual([[0], [0]]);
});

test('requests leave one after the other at its rate, and answers take the round trip', async () => {
  const { send, sent, answered } = link({ bytesPerSecond: 1000, rttMs: 100 });
  const both = Promise.all([send(2000), send(500)]);
  await vi.advanceTimersByTimeAsync(2599);
  expect([sent, answered]).toEqual([[2050, 2550], [2100]]);
  await vi.advanceTimersByTimeAsync(1);
  await both;
  expect(answered).toEqual([2100, 2600]);
});

test('what has no body goes as it comes', async () => {
  const { link: slow, sent } = link({ bytesPerSecond: 1, rttMs: 1000 });
  expect(await (await slow('http://cloud/bundle')).text()).toBe('answer');
  expect(sent).toEqual([0]);
});

test('nothing passes a link that is cut, nor an answer one that was cut meanwhile', async () => {
  const all = link({ rttMs: 100 });
  const late = expect(all.send(10)).rejects.toThrow(TypeError);
  await vi.advanceTimersByTimeAsync(60);
  all.settings = { ...all.settings, cut: true };
  await vi.advanceTimersByTimeAsync(40);
  await late;
  expect(all.sent).toEqual([50]);
  await expect(all.link('http://cloud/bundle')).rejects.toThrow(/the link is cut/);
});

test('who gives up waits no longer, nor does what comes next', async () => {
  const { send, sent } = link({ bytesPerSecond: 1000, rttMs: 100 });
  const stop = new AbortController();
  const given = expect(send(5000, stop.signal)).rejects.toThrow('enough');
  await vi.advanceTimersByTimeAsync(10);
  stop.abort(new Error('enough'));
  await given;
  const next = send(1000);
  await vi.advanceTimersByTimeAsync(6000);
  await next;
  expect(sent).toEqual([1060]);
});
