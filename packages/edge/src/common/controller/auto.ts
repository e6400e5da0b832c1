import { pointName, type ExitCalibration, type Manifest } from '@raccoon/bundle';
import { z } from 'zod';
import { staysLocal } from '../cascade.ts';
import { candidatesOf, encodersOf, sameEncoder, type Candidate, type Pins } from './candidates.ts';
import { EncodeTimes } from './encode-times.ts';
import { calibrationOf, expectedAccuracy, type ExpectedAccuracy } from './exit-accuracy.ts';
import { withoutLink } from './fixed.ts';
import { LinkWatch } from './link-watch.ts';
import type { Action, EncoderChoice, Limits, Policy, Sighting, Situation } from './policy.ts';
import { predictAnswerMs, probabilityInTime } from './prediction.ts';
import type { ProfileRow } from './create.ts';
import { ShadowPrice } from './shadow-price.ts';
import { restoreState, saveState } from './state.ts';
import { sureEnough } from './threshold.ts';

export interface AutoOptions {
  readonly limits: Limits;
  readonly pins: Pins;
  readonly profile: readonly ProfileRow[];
  readonly calibrations: readonly ExitCalibration[];
  /** D0, if the user has set one: then the exit is trusted. */
  readonly threshold?: number | undefined;
}

/** One way to send an image. */
interface Way {
  readonly candidate: Candidate;
  readonly bytes: number;
  readonly answerMs: number;
  /** P(in time). */
  readonly p: number;
  /** More than can be risked on a link that has not shown its rate. */
  readonly unproven: boolean;
}

interface Option extends Way {
  /** Points of accuracy that it is expected to gain over the local exit, */
  readonly gain: number;
  /** and that less what its bytes cost. */
  readonly worth: number;
}

/** Below this P(in time) sending is no attempt to have an answer. */
const HOPELESS = 0.1;
/** What the client keeps of the deadline for the local answer: an encoder may be holding its thread up then. */
const RESERVE_MS = 5;
const MOST_RESERVE = 1 / 4;
/** A difference of P(in time) that is worth a word. */
const NOTICEABLE = 0.02;
/** Seconds in which a limit's mean is kept, nearly. */
const HORIZON = 2;
/** Points of accuracy that all of an image's bytes, or a second of encoding, cost where there is plenty. */
const LEAST = 0.1;

const learned = z.strictObject({
  bytePrice: z.number().nonnegative(),
  msPrice: z.number().nonnegative(),
  times: z.array(
    z.strictObject({
      n: z.int(),
      precision: z.enum(['float32', 'int8']),
      images: z.int().positive(),
      ms: z.number().nonnegative(),
      errorMs: z.number().nonnegative(),
    }),
  ),
});

/**
 * Most expected accuracy under the limits, image by image (docs/controller.md):
 *
 *     P(in time) * top1(point) + (1 - P(in time)) * top1(exit) - price of its bytes - price of its encoding
 *
 * once with means, for the encoder; and once with the image's own bytes and margin, for the rate or the local exit.
 */
export function autoPolicy(
  manifest: Manifest,
  { limits, pins, profile, calibrations, threshold }: AutoOptions,
): Policy {
  const name = 'auto';
  const { deadlineMs = Infinity, bytesPerSecond, cpuShare } = limits;
  const candidates = candidatesOf(manifest, pins);
  const encoders = encodersOf(candidates);
  const sizes = candidates.map(({ bytes }) => bytes);

  const link = new LinkWatch();
  const times = new EncodeTimes(profile);
  const bytePrice = new ShadowPrice({
    rate: bytesPerSecond,
    least: LEAST / Math.max(...sizes),
    horizon: HORIZON,
  });
  const msPrice = new ShadowPrice({
    rate: cpuShare === undefined ? undefined : 1000 * cpuShare,
    least: LEAST / 1000,
    highest: 100,
    horizon: HORIZON,
  });
  let decidedAt: number | undefined;
  /** The longest encoding lately, ms. */
  let blockMs = 0;

  /** Until the client stops waiting for the cloud, ms. */
  function leftOf({ elapsedMs }: Situation): number {
    const reserve = manifest.exit ? Math.min(MOST_RESERVE * deadlineMs, RESERVE_MS + blockMs) : 0;
    return deadlineMs - reserve - elapsedMs;
  }

  const own = new Map(
    encoders.map((encoder) => [
      nameOf(encoder),
      candidates.filter((candidate) => sameEncoder(candidate, encoder)),
    ]),
  );
  const of = (encoder: EncoderChoice): readonly Candidate[] => own.get(nameOf(encoder)) ?? [];

  /** D0 of an encoder; none where the exit is not trusted. */
  function thresholdOf(encoder: EncoderChoice): number | undefined {
    const calibration = calibrationOf(calibrations, encoder);
    return threshold ?? (calibration?.trusted ? calibration.threshold : undefined);
  }

  /** Ways to send an image of this encoder if it has `leftMs`, at each of its rates. */
  function waysOf(
    situation: Situation,
    encoder: EncoderChoice,
    leftMs: number,
    errorMs: number,
    bytesOf: (candidate: Candidate) => number,
  ): Way[] {
    const rates = of(encoder).map((candidate) => ({ candidate, bytes: bytesOf(candidate) }));
    const least = Math.min(...rates.map(({ bytes }) => bytes));
    const most = leftMs === Infinity ? Infinity : link.mostBytes(situation, least);
    return rates.map(({ candidate, bytes }) => ({
      candidate,
      bytes,
      answerMs: predictAnswerMs(situation.link, situation.queue, bytes),
      unproven: bytes > most,
      p: bytes > most ? 0 : link.inTime(situation, bytes, leftMs, errorMs),
    }));
  }

  /** What a way is worth, if not sending is worth `local` percent. */
  function valued(way: Way, accuracy: ExpectedAccuracy, local: number): Option {
    const gain = way.p * (accuracy.cloud(way.candidate) - local);
    return { ...way, gain, worth: gain - bytePrice.price * way.bytes };
  }

  /** Accuracy that an encoder is expected to bring, percent, less what its time and its bytes cost. */
  function worthOf(situation: Situation, encoder: EncoderChoice): number {
    const { ms, errorMs } = times.expect(of(encoder)[0]!, candidates);
    const encoded = probabilityInTime(ms, deadlineMs - situation.elapsedMs, errorMs);
    const calibration = calibrationOf(calibrations, encoder);
    const margins = calibration?.margins.map(({ margin }) => margin) ?? [undefined];
    const d0 = thresholdOf(encoder) ?? 1;
    const ways = waysOf(situation, encoder, leftOf(situation) - ms, errorMs, meanBytes);
    let sum = 0;
    for (const margin of margins) {
      const accuracy = expectedAccuracy(candidates, encoder, calibration, margin);
      sum += encoded * accuracy.exit;
      if (margin !== undefined && staysLocal(margin, d0)) continue;
      sum += Math.max(0, ...ways.map((way) => valued(way, accuracy, accuracy.exit).worth));
    }
    return sum / margins.length - msPrice.price * ms;
  }

  function decide(situation: Situation, sighting: Sighting): Action {
    const { encoder, exit } = sighting;
    const d0 = thresholdOf(encoder);
    const sure = sureEnough(exit, d0);
    if (sure) return sure;
    const calibration = calibrationOf(calibrations, encoder);
    const accuracy = expectedAccuracy(candidates, encoder, calibration, exit?.margin);
    // An exit that nobody trusts is what is left where nothing can be sent, and no way to save bytes.
    const local = d0 === undefined || !exit ? 0 : accuracy.exit;
    const leftMs = leftOf(situation);
    const ways = waysOf(situation, encoder, leftMs, 0, ({ point }) => sighting.bytesAt(point));
    const options = ways.map((way) => valued(way, accuracy, local));
    const best = options.reduce((a, b) => (b.worth > a.worth ? b : a));

    if (Math.max(...options.map(({ p }) => p)) < HOPELESS) {
      const least = options.reduce((a, b) => (b.bytes < a.bytes ? b : a));
      const why = situation.link.up
        ? `an answer would take ${ms(least.answerMs)} or more, ${ms(leftMs)} are left`
        : 'the link is down';
      if (leftMs <= 0 || !link.mayProbe(situation)) return withoutLink(sighting, why);
      return {
        kind: 'send',
        point: least.candidate.point,
        reason: `${labelOf(least)}: ${why}; it is a probe`,
      };
    }
    if (best.worth > 0) {
      const { candidate, p, answerMs } = best;
      const expected = p * accuracy.cloud(candidate) + (1 - p) * local;
      const time = answerMs > 0 ? `${ms(answerMs)} of ${ms(leftMs)} left` : 'no answer was timed yet';
      const reason = `${labelOf(best)}: ${time}, ${expected.toFixed(1)} % expected`;
      return { kind: 'send', point: candidate.point, reason: `${reason}${whyNotMore(best, options)}` };
    }
    if (best.gain > 0)
      return withoutLink(
        sighting,
        `the limit of bytes allows none for the ${best.gain.toFixed(1)} % to gain`,
      );
    return {
      kind: 'local',
      degraded: false,
      reason: 'the cloud is not expected to know more than the local exit',
    };
  }

  const labelOf = ({ candidate }: Way): string => pointName(manifest.points[candidate.point]!);

  return {
    name,
    encoders,
    chooseEncoder(situation) {
      link.look(situation);
      return encoders.reduce(
        (best, encoder) => {
          const worth = worthOf(situation, encoder);
          return worth > best.worth ? { encoder, worth } : best;
        },
        { encoder: encoders[0]!, worth: -Infinity },
      ).encoder;
    },
    chooseAction(situation, sighting) {
      const { now } = situation;
      link.look(situation);
      times.observe(sighting.encoder, sighting.encodeMs);
      blockMs = Math.max(sighting.encodeMs, 0.9 * blockMs);
      const sinceMs = now - (decidedAt ?? now);
      decidedAt = now;
      msPrice.use(sighting.encodeMs, sinceMs);
      bytePrice.use(0, sinceMs);
      const action = decide(situation, sighting);
      if (action.kind === 'send') {
        link.sent(now);
        bytePrice.use(sighting.bytesAt(action.point), 0);
      }
      return action;
    },
    observe(feedback) {
      link.observe(feedback);
    },
    save: () =>
      saveState(name, manifest, {
        bytePrice: bytePrice.price,
        msPrice: msPrice.price,
        times: times.measured,
      }),
    restore(state) {
      const {
        bytePrice: perByte,
        msPrice: perMs,
        times: measured,
      } = restoreState(state, name, manifest, learned);
      bytePrice.price = perByte;
      msPrice.price = perMs;
      times.measured = measured;
    },
  };
}

const nameOf = ({ n, precision }: EncoderChoice): string => `${n} ${precision}`;
const meanBytes = ({ bytes }: Candidate): number => bytes;
const ms = (value: number): string => (value === Infinity ? 'any time' : `${value.toFixed(0)} ms`);

/** Why not the next higher rate. */
function whyNotMore(best: Option, options: readonly Option[]): string {
  const more = options.filter(({ bytes }) => bytes > best.bytes);
  if (more.length === 0) return '';
  const next = more.reduce((a, b) => (b.bytes < a.bytes ? b : a));
  const { q } = next.candidate;
  if (next.unproven) return `; q=${q} is more than the link has shown to carry`;
  if (next.p < best.p - NOTICEABLE) return `; q=${q} would ${next.p < 0.5 ? '' : 'more often '}be late`;
  return next.gain > best.gain ? `; q=${q} is not worth its bytes` : `; q=${q} is not better`;
}
