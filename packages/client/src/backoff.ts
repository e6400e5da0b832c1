/** How a link that broke is opened again; every time is in ms. */
export interface ReconnectOptions {
  /** The wait after the first failure; doubles with each further one. Half of each wait is random. Default 100. */
  readonly firstDelayMs?: number;
  /** It grows no longer than this. Default 5,000. */
  readonly maxDelayMs?: number;
  /** Once the link has been down for so long, an image waits for one more attempt only. Default 30,000. */
  readonly patienceMs?: number;
  /** A stream that answers nothing for so long, although it should, is left for another one. Default 10,000. */
  readonly silenceMs?: number;
  /** One image is sent so often, at most: there are images that kill a cloud. Default 8. */
  readonly maxSends?: number;
}

export type Reconnect = Required<ReconnectOptions>;

/** @throws RangeError for one that is no number above 0 */
export function reconnectFrom(given: ReconnectOptions = {}): Reconnect {
  const options = {
    firstDelayMs: given.firstDelayMs ?? 100,
    maxDelayMs: given.maxDelayMs ?? 5000,
    patienceMs: given.patienceMs ?? 30_000,
    silenceMs: given.silenceMs ?? 10_000,
    maxSends: given.maxSends ?? 8,
  };
  for (const [name, value] of Object.entries(options)) {
    if (!(value > 0 && value <= 0x7fff_ffff)) {
      throw new RangeError(`reconnect.${name} must be above 0 and below 2^31, not ${value}`);
    }
  }
  return options;
}

/** The wait after `failures` in succession. Random in part: edges that lost one cloud do not come back at one moment. */
export function backoff(
  failures: number,
  { firstDelayMs, maxDelayMs }: Reconnect,
  random: () => number = Math.random,
): number {
  const most = Math.min(maxDelayMs, firstDelayMs * 2 ** Math.min(30, failures - 1));
  return (most * (1 + random())) / 2;
}
