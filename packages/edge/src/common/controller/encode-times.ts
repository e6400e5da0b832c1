import { sameEncoder, type Candidate } from './candidates.ts';
import type { ProfileRow } from './create.ts';
import type { EncoderChoice } from './policy.ts';

/** Expected time of an encoder, decoding and resizing of the image included, ms. */
export interface EncodeTime {
  readonly ms: number;
  /** Mean deviation from that, ms. */
  readonly errorMs: number;
}

/** What one encoder took here. */
export interface MeasuredTime extends EncodeTime, EncoderChoice {
  readonly images: number;
}

/** Weight of the newest image in the moving means. */
const NEWEST = 0.1;
/** Until anything was measured: multiply-accumulates per ms of a small processor, and ms for the image itself. */
const PRIOR_MACS_PER_MS = 2e6;
const PRIOR_IMAGE_MS = 10;

/**
 * How long the encoders take: own moving means, before that the device's profile, before that multiply-accumulates at the
 * pace of the encoders that were measured.
 */
export class EncodeTimes {
  measured: MeasuredTime[] = [];
  readonly #profile: readonly ProfileRow[];

  constructor(profile: readonly ProfileRow[] = []) {
    this.#profile = profile;
  }

  observe({ n, precision }: EncoderChoice, ms: number): void {
    const before = this.measured.find((one) => sameEncoder(one, { n, precision }));
    const others = this.measured.filter((one) => one !== before);
    if (!before) {
      // one image alone, and perhaps the one that loaded the encoder
      this.measured = [...others, { n, precision, images: 1, ms, errorMs: ms / 2 }];
      return;
    }
    const newest = Math.max(NEWEST, 1 / (before.images + 1));
    const moved = (mean: number, value: number): number => mean + newest * (value - mean);
    this.measured = [
      ...others,
      {
        n,
        precision,
        images: before.images + 1,
        ms: moved(before.ms, ms),
        errorMs: moved(before.errorMs, Math.abs(ms - before.ms)),
      },
    ];
  }

  expect(encoder: Pick<Candidate, 'n' | 'precision' | 'edgeMacs'>, all: readonly Candidate[]): EncodeTime {
    const own = this.measured.find((one) => sameEncoder(one, encoder));
    if (own) return own;
    const row = this.#profile.find((one) => sameEncoder(one, encoder));
    if (row) {
      const ms = row.imageMs.p50 + row.encoderMs.p50;
      return { ms, errorMs: row.imageMs.p95 + row.encoderMs.p95 - ms };
    }
    const ms = PRIOR_IMAGE_MS + encoder.edgeMacs / PRIOR_MACS_PER_MS;
    const paces = this.measured.flatMap((one) => {
      const like = all.find((candidate) => sameEncoder(candidate, one));
      return like ? [one.ms / (PRIOR_IMAGE_MS + like.edgeMacs / PRIOR_MACS_PER_MS)] : [];
    });
    const pace = paces.length > 0 ? paces.reduce((sum, one) => sum + one, 0) / paces.length : 1;
    return { ms: pace * ms, errorMs: (pace * ms) / 2 };
  }
}
