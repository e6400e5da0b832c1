import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { explainViolations, planPoint, type PlanCandidate, type PlanLimits } from './plan.ts';

const point = (index: number, top1: number, ms: number, bytes: number, n: number): PlanCandidate => ({
  point: index,
  n,
  q: index,
  top1,
  ms,
  bytes,
  params: 1000 * (n + 1),
  macs: 1e6 * (n + 1),
});
const small = point(0, 40, 1, 700, 0);
const middle = point(1, 60, 2, 1100, 4);
const large = point(2, 67, 4, 3000, 8);
const all = [small, middle, large];

test('without limits the most accurate point is the best', () => {
  expect(planPoint(all, {})).toEqual({ feasible: true, best: large });
});

test.each<[keyof PlanLimits, number, PlanCandidate]>([
  ['maxMs', 3.9, middle],
  ['maxBytes', 2999, middle],
  ['maxParams', 5000, middle],
  ['maxMacs', 5e6, middle],
  ['maxMs', 4, large],
  ['maxBytes', 700, small],
])('%s %d', (limit, value, best) => {
  expect(planPoint(all, { [limit]: value })).toEqual({ feasible: true, best });
});

test('as accurate: the faster one, then the smaller one', () => {
  const slower = { ...large, point: 3, ms: 5 };
  const bigger = { ...large, point: 4, bytes: 4000 };
  expect(planPoint([slower, bigger, large], {})).toEqual({ feasible: true, best: large });
});

describe('infeasible', () => {
  test('names the limit and the nearest point', () => {
    const plan = planPoint(all, { maxBytes: 600 });
    expect(plan).toEqual({
      feasible: false,
      nearest: small,
      violations: [{ limit: 'maxBytes', allowed: 600, needed: 700 }],
    });
    expect(!plan.feasible && explainViolations(plan)).toBe(
      'no operating point within the limits; the nearest, n=0 q=0, breaks --max-bytes 600 (needs 700)',
    );
  });

  test('says what would be enough, rounded so that it is', () => {
    const odd = { ...middle, top1: 60.19, ms: 2.01, bytes: 1100.2 };
    const plan = planPoint([odd], { maxMs: 2, maxBytes: 1000, minAccuracy: 61 });
    expect(!plan.feasible && explainViolations(plan)).toContain(
      '--max-ms 2 (needs 2.1) and --max-bytes 1000 (needs 1101) and --min-accuracy 61 (has 60.1)',
    );
  });

  test('limits that only together cannot be kept: the point that is least beyond', () => {
    const plan = planPoint(all, { maxMs: 3.8, minAccuracy: 66 });
    expect(plan).toEqual({
      feasible: false,
      nearest: large,
      violations: [{ limit: 'maxMs', allowed: 3.8, needed: 4 }],
    });
  });

  test('a point that was not timed keeps no limit on time', () => {
    const { ms: _, ...untimed } = large;
    expect(planPoint([untimed, middle], { maxMs: 10 })).toEqual({ feasible: true, best: middle });
    expect(planPoint([untimed, middle], {})).toEqual({ feasible: true, best: untimed });
  });

  test('nothing to plan with', () => {
    expect(() => planPoint([], {})).toThrow('nothing to plan with');
  });
});

const keeps = (
  one: PlanCandidate,
  { maxMs, maxBytes, maxParams, maxMacs, minAccuracy }: PlanLimits,
): boolean =>
  one.ms! <= (maxMs ?? Infinity) &&
  one.bytes <= (maxBytes ?? Infinity) &&
  one.params <= (maxParams ?? Infinity) &&
  one.macs <= (maxMacs ?? Infinity) &&
  one.top1 >= (minAccuracy ?? 0);

describe('whatever the points and limits are', () => {
  const candidate = fc
    .record({
      top1: fc.integer({ min: 1, max: 100 }),
      ms: fc.integer({ min: 1, max: 20 }),
      bytes: fc.integer({ min: 1, max: 20 }),
      n: fc.integer({ min: 0, max: 8 }),
    })
    .map(({ top1, ms, bytes, n }) => point(0, top1, ms, bytes, n));
  const candidates = fc.array(candidate, { minLength: 1, maxLength: 12 });
  const limits = fc.record(
    {
      maxMs: fc.integer({ min: 0, max: 20 }),
      maxBytes: fc.integer({ min: 0, max: 20 }),
      maxParams: fc.integer({ min: 0, max: 9000 }),
      maxMacs: fc.integer({ min: 0, max: 9e6 }),
      minAccuracy: fc.integer({ min: 0, max: 100 }),
    },
    { requiredKeys: [] },
  );
  test('limits are kept, by the best point that can; else the nearest says what it breaks', () => {
    fc.assert(
      fc.property(candidates, limits, (points, given) => {
        const plan = planPoint(points, given);
        const within = points.filter((one) => keeps(one, given));
        expect(plan.feasible).toBe(within.length > 0);
        if (plan.feasible) {
          expect(keeps(plan.best, given)).toBe(true);
          expect(plan.best.top1).toBe(Math.max(...within.map(({ top1 }) => top1)));
        } else {
          expect(plan.violations.length).toBeGreaterThan(0);
          const relaxed = {
            ...given,
            ...Object.fromEntries(plan.violations.map((of) => [of.limit, of.needed])),
          };
          expect(planPoint(points, relaxed).feasible).toBe(true);
        }
      }),
      { seed: 8 },
    );
  });

  test('a tighter limit never gives a higher accuracy', () => {
    const tighter = fc.integer({ min: 0, max: 20 });
    fc.assert(
      fc.property(candidates, limits, tighter, (points, given, maxBytes) => {
        const loose = planPoint(points, given);
        const tight = planPoint(points, { ...given, maxBytes: Math.min(maxBytes, given.maxBytes ?? 20) });
        if (tight.feasible) expect(loose.feasible && loose.best.top1 >= tight.best.top1).toBe(true);
      }),
      { seed: 8 },
    );
  });
});
