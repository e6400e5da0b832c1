import { pointName, type OperatingPoint } from '@raccoon/bundle';

/** What an operating point costs on a device, and what it is good for. */
export interface PlanCandidate extends Pick<OperatingPoint, 'n' | 'q' | 'precision'> {
  readonly point: number;
  /** Percent, measured. */
  readonly top1: number;
  /** From photo to bytes, ms, median; absent where the device was not measured. */
  readonly ms?: number;
  /** Of bitstream, mean. */
  readonly bytes: number;
  /** Of the encoder. */
  readonly params: number;
  /** Multiply-accumulates of the encoder. */
  readonly macs: number;
}

/** What is absent is not limited. */
export interface PlanLimits {
  readonly maxMs?: number;
  readonly maxBytes?: number;
  readonly maxParams?: number;
  readonly maxMacs?: number;
  /** Percent of top-1. */
  readonly minAccuracy?: number;
}

export type PlanLimit = keyof PlanLimits;

/** A limit that a point does not keep. */
export interface Violation {
  readonly limit: PlanLimit;
  readonly allowed: number;
  /** What the limit would have to be. */
  readonly needed: number;
}

export type Plan =
  /** The most accurate point within the limits. */
  | { readonly feasible: true; readonly best: PlanCandidate }
  /** No point is within them; `nearest` breaks `violations`, relatively the least. */
  | { readonly feasible: false; readonly nearest: PlanCandidate; readonly violations: readonly Violation[] };

/**
 * The best operating point under limits: the highest top-1, then the fastest, then the smallest. Where there is none, the
 * nearest: its worst violation, relative to the limit, is the smallest there is.
 * @param candidates at least one
 */
export function planPoint(candidates: readonly PlanCandidate[], limits: PlanLimits): Plan {
  const feasible = candidates.filter((candidate) => violationsOf(candidate, limits).length === 0);
  const [best] = feasible.toSorted(better);
  if (best) return { feasible: true, best };
  const excess = (candidate: PlanCandidate): number =>
    Math.max(...violationsOf(candidate, limits).map(relativeExcess));
  const [nearest] = candidates.toSorted((a, b) => excess(a) - excess(b) || better(a, b));
  if (!nearest) throw new RangeError('nothing to plan with: no operating point was measured');
  return { feasible: false, nearest, violations: violationsOf(nearest, limits) };
}

/** For people: what keeps the limits from being kept. */
export function explainViolations({ nearest, violations }: Extract<Plan, { feasible: false }>): string {
  const broken = violations.map(
    ({ limit, allowed, needed }) =>
      `${FLAGS[limit]} ${allowed} (${limit === 'minAccuracy' ? 'has' : 'needs'} ${enough(limit, needed)})`,
  );
  return `no operating point within the limits; the nearest, ${pointName(nearest)}, breaks ${broken.join(' and ')}`;
}

const FLAGS: Record<PlanLimit, string> = {
  maxMs: '--max-ms',
  maxBytes: '--max-bytes',
  maxParams: '--max-params',
  maxMacs: '--max-macs',
  minAccuracy: '--min-accuracy',
};

/** Rounded to what still is within the limit that it is needed for. */
function enough(limit: PlanLimit, needed: number): number {
  if (limit === 'minAccuracy') return Math.floor(10 * needed) / 10;
  return limit === 'maxMs' ? Math.ceil(10 * needed) / 10 : Math.ceil(needed);
}

function better(a: PlanCandidate, b: PlanCandidate): number {
  return b.top1 - a.top1 || (a.ms ?? a.macs) - (b.ms ?? b.macs) || a.bytes - b.bytes;
}

/** The limits that a candidate breaks; one that was not timed breaks any limit on time. */
function violationsOf(candidate: PlanCandidate, limits: PlanLimits): Violation[] {
  const { ms = Infinity, bytes, params, macs, top1 } = candidate;
  const most: [PlanLimit, number][] = [
    ['maxMs', ms],
    ['maxBytes', bytes],
    ['maxParams', params],
    ['maxMacs', macs],
  ];
  const violations = most.flatMap(([limit, needed]) => {
    const allowed = limits[limit];
    return allowed !== undefined && needed > allowed ? [{ limit, allowed, needed }] : [];
  });
  const { minAccuracy } = limits;
  if (minAccuracy !== undefined && top1 < minAccuracy) {
    violations.push({ limit: 'minAccuracy', allowed: minAccuracy, needed: top1 });
  }
  return violations;
}

/** 0.1: a tenth more than allowed, or a tenth less than asked for. */
function relativeExcess({ allowed, needed }: Violation): number {
  return allowed === 0 ? Infinity : Math.abs(needed - allowed) / allowed;
}
