import * as fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { quantisePlain } from '../quantise.ts';
import { openSimd } from './simd.ts';

afterEach(() => vi.unstubAllGlobals());

/** What rounds to a symbol, ties, what is just beyond int16, and anything else that a float32 can be. */
const value = fc.oneof(
  { weight: 20, arbitrary: fc.float({ min: -40, max: 40, noNaN: true }) },
  { weight: 4, arbitrary: fc.integer({ min: -80, max: 80 }).map((half) => half / 2) },
  { weight: 1, arbitrary: fc.constantFrom(-32768, 32767, -32768.5, 32767.5, -32769, 32768, 65536, -0) },
  { weight: 1, arbitrary: fc.float() },
);

describe('quantise', () => {
  const simd = openSimd();

  test('is the plain one, or leaves it to that', () => {
    const image = fc.integer({ min: 1, max: 3 }).chain((channels) =>
      fc.integer({ min: 1, max: 21 }).chain((plane) =>
        fc.record({
          channels: fc.constant(channels),
          plane: fc.constant(plane),
          latent: fc.array(value, { minLength: channels * plane, maxLength: channels * plane }),
          gains: fc.array(fc.constantFrom(1, 0.5, 2, Math.fround(0.37)), { minLength: 3, maxLength: 3 }),
          medians: fc.array(fc.constantFrom(0, 0.5, Math.fround(-0.1)), { minLength: 3, maxLength: 3 }),
        }),
      ),
    );
    let done = 0;
    fc.assert(
      fc.property(image, ({ channels, plane, ...values }) => {
        const latent = Float32Array.from(values.latent);
        const gains = Float32Array.from(values.gains.slice(0, channels));
        const medians = Float32Array.from(values.medians.slice(0, channels));
        const expected = new Int16Array(latent.length);
        const actual = new Int16Array(latent.length);
        let right = true;
        try {
          quantisePlain(latent, plane, gains, medians, expected);
        } catch {
          right = false;
        }
        expect(simd.quantise(latent, plane, gains, medians, actual)).toBe(right);
        if (right) {
          done++;
          expect(actual).toEqual(expected);
        }
      }),
      { seed: 8, numRuns: 2000 },
    );
    expect(done).toBeGreaterThan(500);
  });

  test('memory grows with the job, up to a limit', () => {
    const one = Float32Array.of(1);
    const latent = new Float32Array(300_000).fill(2.5);
    const out = new Int16Array(300_000);
    expect(simd.quantise(latent, 300_000, one, Float32Array.of(0), out)).toBe(true);
    expect(out.every((symbol) => symbol === 2)).toBe(true);
    const many = new Float32Array((1 << 20) + 1);
    expect(simd.quantise(many, many.length, one, one, new Int16Array(many.length))).toBe(false);
  });

  test('does nothing where there is no WebAssembly', () => {
    vi.stubGlobal('WebAssembly', undefined);
    expect(openSimd().quantise(new Float32Array(1), 1, new Float32Array(1), new Float32Array(1), new Int16Array(1))).toBe(false); // prettier-ignore
  });
});
