import { readFileSync } from 'node:fs';
import { parseManifest, type ExitCalibration, type Manifest } from '@raccoon/bundle';
import { describe, expect, test } from 'vitest';
import { createPolicy, type PolicyOptions } from './create.ts';
import type { Action, Policy, Sighting, Situation } from './policy.ts';
import type { LinkStats } from './stats.ts';

const folder = new URL('../../../../../bundles/imagenet1k-mobilenet/', import.meta.url);
const shipped = parseManifest(readFileSync(new URL('manifest.json', folder), 'utf8'), 'bundle');

/** A bundle with encoders n = 0 and n = 8 of 10 and 40 M multiply-accumulates, rates 0 to 2 of 500, 1000 and 2000 bytes. */
const manifest: Manifest = {
  ...shipped,
  exit: { output: 'exit' },
  defaultPoint: 4,
  points: [
    [0, [30, 50, 58], 20],
    [8, [50, 62, 68], 40],
  ].flatMap(([n, accuracies, exitTop1]) =>
    (accuracies as number[]).map((top1, q) => {
      const payloadBpp = (8 * 500 * 2 ** q) / (224 * 224);
      return {
        n: n as number,
        q,
        encoder: `encoder-n${String(n)}.onnx`,
        edgeMacs: n === 0 ? 10e6 : 40e6,
        expectedBpp: payloadBpp,
        measured: { data: 'test', images: 100, top1, top5: 90, payloadBpp, exitTop1: exitTop1 as number },
      };
    }),
  ),
};
const { exit: _, ...without } = manifest;
const withoutExit: Manifest = without;
const ENCODE_MS: Record<number, number> = { 0: 10, 8: 40 };
const sizes = manifest.points.map((_point, p) => 500 * 2 ** (p % 3));

const calibration: ExitCalibration = {
  n: 8,
  precision: 'float32',
  temperature: 1,
  ece: { before: 0.1, after: 0.05 },
  threshold: 0.9,
  margins: [
    { margin: 0, exitTop1: 10, cloudTop1: 46 },
    { margin: 0.5, exitTop1: 70, cloudTop1: 78 },
  ],
  trusted: true,
  measured: { data: 'test', calibrated: 100, reported: 100, q: 1, top1: 61, cloudTop1: 62, sent: 70 },
};

function situation(link: Partial<LinkStats> = {}, now = 0, elapsedMs = 0): Situation {
  return {
    now,
    elapsedMs,
    link: {
      up: true,
      rttMs: 40,
      bytesPerSecond: 10_000,
      bytesInFlight: 0,
      unansweredMs: 0,
      errorMs: 10,
      ...link,
    },
    queue: { cloudMs: 10 },
  };
}

function sighting(n = 8, margin = 0.3): Sighting {
  return {
    encoder: { n, precision: 'float32' },
    encodeMs: ENCODE_MS[n]!,
    exit: { confidence: margin, margin },
    bytesAt: (point) => sizes[point]!,
  };
}

const auto = (options: Partial<PolicyOptions> = {}): Policy => createPolicy('auto', { manifest, ...options });
const pointOf = (action: Action): number | undefined => (action.kind === 'send' ? action.point : undefined);

describe('the rate', () => {
  const limits = { deadlineMs: 500 };

  test('without a limit the most accurate point', () => {
    const policy = auto();
    expect(policy.chooseEncoder(situation())).toEqual({ n: 8, precision: 'float32' });
    expect(policy.chooseAction(situation(), sighting())).toEqual({
      kind: 'send',
      point: 5,
      reason: 'n=8 q=2: 250 ms of any time left, 68.0 % expected',
    });
  });

  test('the highest that is in time, and the numbers that decided', () => {
    const policy = auto({ limits });
    policy.chooseEncoder(situation());
    // 45 ms are kept for the local answer; q = 2 takes 100 + 200 + 50 ms
    expect(policy.chooseAction(situation({ bytesInFlight: 1000 }, 0, 40), sighting())).toEqual({
      kind: 'send',
      point: 5,
      reason: 'n=8 q=2: 350 ms of 415 ms left, 68.0 % expected',
    });
    expect(policy.chooseAction(situation({ bytesInFlight: 2000 }, 0, 40), sighting())).toEqual({
      kind: 'send',
      point: 4,
      reason: 'n=8 q=1: 350 ms of 415 ms left, 62.0 % expected; q=2 would be late',
    });
  });

  test('of a pinned depth and rate there is only that', () => {
    expect(auto({ blocks: 0 }).chooseEncoder(situation())).toEqual({ n: 0, precision: 'float32' });
    const policy = auto({ rate: 0 });
    policy.chooseEncoder(situation());
    expect(pointOf(policy.chooseAction(situation(), sighting()))).toBe(3);
    expect(() => auto({ blocks: 4 })).toThrow(expect.objectContaining({ code: 'unknown-point' }));
  });

  test('grows with answers where the link has shown no rate', () => {
    const policy = auto({ limits });
    const unknown = { bytesPerSecond: Infinity, rttMs: 0 };
    const chosen: (number | undefined)[] = [];
    const first = auto({ limits }).chooseAction({ ...situation(unknown), queue: { cloudMs: 0 } }, sighting());
    expect(first.reason).toBe(
      'n=8 q=0: no answer was timed yet, 50.0 % expected; q=1 is more than the link has shown to carry',
    );
    for (let t = 0; t < 1000; t += 200) {
      const encoder = policy.chooseEncoder(situation(unknown, t));
      const action = policy.chooseAction(situation(unknown, t), sighting());
      chosen.push(pointOf(action));
      const bytes = sizes[pointOf(action)!]!;
      policy.observe({ now: t, action, encoder, encodeMs: 40, bytes, inTime: true, answerMs: 60 });
    }
    expect(chosen).toEqual([3, 4, 5, 5, 5]);
  });
});

const times = (ms: number): { p50: number; p95: number } => ({ p50: ms, p95: ms });

const row = (n: number, ms: number): NonNullable<PolicyOptions['profile']>['rows'][number] => ({
  n,
  precision: 'float32',
  imageMs: times(10),
  encoderMs: times(ms),
});

describe('the encoder', () => {
  test('is the shallow one where the deep one would be late', () => {
    const policy = auto({ limits: { deadlineMs: 150 } });
    policy.chooseEncoder(situation());
    policy.chooseAction(situation(), { ...sighting(8), encodeMs: 140 }); // this one is slow today
    expect(policy.chooseEncoder(situation({ bytesPerSecond: 1e6 }, 200)).n).toBe(0);
  });

  test('takes its times from the device profile until it has its own', () => {
    const profile = { rows: [row(0, 20), row(8, 400)] };
    const limits = { deadlineMs: 300 };
    expect(auto({ limits, profile }).chooseEncoder(situation({ bytesPerSecond: 1e6 })).n).toBe(0);
    expect(auto({ limits }).chooseEncoder(situation({ bytesPerSecond: 1e6 })).n).toBe(8);
  });

  test('costs processor time: its mean share keeps to the limit', () => {
    const policy = auto({ limits: { cpuShare: 0.1 } }); // 20 ms of each 200 ms: deep ones a third of the time
    let busy = 0;
    for (let t = 0; t < 120_000; t += 200) {
      const { n } = policy.chooseEncoder(situation({}, t));
      policy.chooseAction(situation({}, t), sighting(n));
      if (t >= 60_000) busy += ENCODE_MS[n]!;
    }
    expect(busy / 60_000).toBeGreaterThan(0.09);
    expect(busy / 60_000).toBeLessThan(0.11);
  });
});

const far = (now: number): Situation => situation({ rttMs: 700 }, now);
const dead = (now: number): Situation => situation({ bytesPerSecond: 100, unansweredMs: now }, now);

describe('the local exit', () => {
  const limits = { deadlineMs: 500 };

  test('answers when it is trusted and sure, and not when it is not trusted', () => {
    const sure = {
      kind: 'local',
      degraded: false,
      reason: 'margin 0.95 is above 0.90: the local exit is sure',
    };
    expect(auto({ calibration: [calibration] }).chooseAction(situation(), sighting(8, 0.95))).toEqual(sure);
    const distrusted = { ...calibration, trusted: false };
    for (const policy of [auto(), auto({ calibration: [distrusted] })]) {
      expect(policy.chooseAction(situation(), sighting(8, 0.95)).kind).toBe('send');
    }
    expect(auto({ threshold: 0.9 }).chooseAction(situation(), sighting(8, 0.95))).toEqual(sure);
  });

  test('answers, degraded, when the link is down; without an exit the image is dropped', () => {
    const down = situation({ up: false });
    expect(auto({ limits }).chooseAction(down, sighting())).toEqual({
      kind: 'local',
      degraded: true,
      reason: 'the link is down; the local exit answers',
    });
    const { exit: _exit, ...blind } = sighting();
    expect(auto({ limits, manifest: withoutExit }).chooseAction(down, blind)).toEqual({
      kind: 'drop',
      reason: 'the link is down, and this bundle has no local exit',
    });
    expect(auto().chooseAction(down, sighting()).kind).toBe('send'); // there is all the time in the world
  });

  test('a link that answers too late is probed, with the fewest bytes and now and then', () => {
    const policy = auto({ limits });
    const first = policy.chooseAction(far(0), sighting());
    expect(first).toEqual({
      kind: 'send',
      point: 3,
      reason: 'n=8 q=0: an answer would take 760 ms or more, 455 ms are left; it is a probe',
    });
    const encoder = { n: 8, precision: 'float32' as const };
    const sent: number[] = [];
    for (let now = 200; now < 20_000; now += 200) {
      const action = policy.chooseAction(far(now), sighting());
      if (action.kind !== 'send') continue;
      sent.push(now);
      policy.observe({ now, action, encoder, encodeMs: 40, bytes: 500, inTime: false });
    }
    expect(sent.length).toBeGreaterThan(8);
    expect(sent.length).toBeLessThan(20);
    const stuck = auto({ limits });
    stuck.chooseAction(dead(0), sighting());
    const probes = Array.from(
      { length: 50 },
      (_ignored, i) => stuck.chooseAction(dead(200 * i), sighting()).kind,
    );
    expect(probes.filter((kind) => kind === 'send').length).toBeLessThanOrEqual(5); // 10 s, one every 2 s
  });

  test('under a limit of bytes, bytes go where they gain most', () => {
    const policy = auto({ calibration: [calibration], limits: { bytesPerSecond: 2500 } }); // 500 for each image
    const sent = { unsure: 0, rather: 0 };
    let bytes = 0;
    for (let i = 0; i < 1500; i++) {
      const now = 200 * i;
      const kind = i % 2 === 0 ? 'unsure' : 'rather';
      policy.chooseEncoder(situation({ bytesPerSecond: 1e6 }, now));
      const action = policy.chooseAction(
        situation({ bytesPerSecond: 1e6 }, now),
        sighting(8, kind === 'unsure' ? 0.1 : 0.6),
      );
      const point = pointOf(action);
      if (i < 500 || point === undefined) continue;
      sent[kind]++;
      bytes += sizes[point]!;
    }
    expect(bytes / 200).toBeGreaterThan(0.9 * 2500);
    expect(bytes / 200).toBeLessThan(1.1 * 2500);
    expect(sent.unsure).toBeGreaterThan(450); // of 500
    expect(sent.rather).toBeLessThan(50);
  });
});

/** Depth and point for one image. */
const choose = (policy: Policy, now: number): unknown => {
  const { n } = policy.chooseEncoder(situation({}, now));
  return [n, pointOf(policy.chooseAction(situation({}, now), sighting(n)))];
};

describe('state', () => {
  test('goes on where it was', () => {
    const limits = { bytesPerSecond: 2500, deadlineMs: 500, cpuShare: 0.1 };
    const one = auto({ limits });
    for (let now = 0; now < 20_000; now += 200) choose(one, now);
    const other = auto({ limits });
    other.restore(JSON.parse(JSON.stringify(one.save())));
    expect(other.save()).toEqual(one.save());
    const fresh = auto({ limits });
    expect(choose(other, 0)).toEqual(choose(one, 19_800));
    expect(choose(fresh, 0)).toEqual([8, 5]); // which knows of no price yet
  });

  test('of another policy, of another bundle, or of nobody is refused', () => {
    const state = auto().save();
    const refused = (change: object, why: string): void =>
      expect(() => auto().restore({ ...(state as object), ...change })).toThrow(
        expect.objectContaining({ code: 'controller-state', message: expect.stringContaining(why) }),
      );
    refused({ policy: 'ucb' }, 'it is of ucb on imagenet1k-mobilenet');
    refused({ bundle: { name: manifest.name, version: '0.0.1' } }, `${manifest.name} 0.0.1, not of auto`);
    refused({ learned: { bytePrice: -1 } }, 'bytePrice');
    refused({ version: 2 }, 'not what `save` gives');
    expect(() => auto().restore('nonsense')).toThrow('start without it');
  });
});

test('a clock that jumps, or a device that slept, does no harm', () => {
  const policy = auto({ limits: { deadlineMs: 500, bytesPerSecond: 2500, cpuShare: 0.2 } });
  for (const now of [0, 200, 86_400_000, 100, 300]) {
    policy.chooseEncoder(situation({}, now));
    expect(['send', 'local']).toContain(policy.chooseAction(situation({}, now), sighting()).kind);
  }
});
