import type { LinkSettings } from './protocol.ts';

/**
 * A fetch over an emulated link: what is sent leaves one request after the other at its rate, and every answer comes a
 * round trip later. Bodies are counted, headers not; what is fetched without a body, a bundle's files, goes as it comes.
 */
export function slowLink(settings: () => LinkSettings, real: typeof fetch = fetch): typeof fetch {
  let free = 0; // when all that was sent has left

  return async (input, init) => {
    refuseIfCut();
    const bytes = init?.body instanceof Uint8Array ? init.body.length : 0;
    if (bytes === 0) return await real(input, init);
    const { bytesPerSecond, rttMs } = settings();
    const now = performance.now();
    const start = Math.max(free, now);
    const end = start + (1000 * bytes) / bytesPerSecond;
    free = end;
    try {
      await wait(end - now + rttMs / 2, init?.signal);
    } catch (given) {
      if (free === end) free = Math.min(end, Math.max(start, performance.now())); // the rest of it does not leave
      throw given;
    }
    refuseIfCut();
    const response = await real(input, init);
    await wait(rttMs / 2, init?.signal);
    refuseIfCut();
    return response;
  };

  /** As a browser does without a network. */
  function refuseIfCut(): void {
    if (settings().cut) throw new TypeError('the link is cut on this page');
  }
}

async function wait(ms: number, signal: AbortSignal | null | undefined): Promise<void> {
  if (ms <= 0) return; // a timer takes its time, even one of 0
  await new Promise<void>((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal!.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}
