/** The way to the cloud, as far as its user can tell. Whoever owns the socket keeps it; nothing here waits. */
export interface LinkStats {
  /** Whether a stream is open. A stream over a dead link stays open for a while: see `unansweredMs`. */
  readonly up: boolean;
  /** From sending a request of no size to its answer, without the time in the cloud, ms; 0 until something was answered. */
  readonly rttMs: number;
  /** What the link carried towards the cloud when it was busy; `Infinity` until it was. */
  readonly bytesPerSecond: number;
  /** Sent and not yet carried, as far as can be told; while the rate is unknown, sent and not yet answered. */
  readonly bytesInFlight: number;
  /** Age of the oldest request without an answer, ms; 0 without one. */
  readonly unansweredMs: number;
  /** Standard deviation of what the estimate of an answer's time was wrong by, ms. */
  readonly errorMs: number;
}

/** The cloud's own part of an answer's time, as it reports it. */
export interface QueueStats {
  /** Waiting, decoding and inference, ms; 0 until something was answered. */
  readonly cloudMs: number;
}
