import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RansError, RansTables, decode, encode, engines } from './index.ts';
import type { Distribution, EngineName, Indexes, Lanes } from './index.ts';

/*
 * The naive coder: docs/rans.md on BigInt, one list of (lane, cumulative, frequency, total bits) steps, no lookup, no
 * reciprocal, no reuse. Slow and hopefully obvious; both engines must give the same bytes.
 */
interface Step {
  readonly lane: number;
  readonly cumulative: bigint;
  readonly frequency: bigint;
  readonly bits: bigint; // the frequencies of this step sum to 2^bits
}

/** Which table codes which symbol: one for each symbol, or one for each run. */
type Message = {
  readonly tables: readonly Distribution[];
  readonly symbols: readonly number[];
} & ({ readonly indexes: readonly number[] } | { readonly runs: readonly number[]; readonly length: number });

const sum = (list: readonly bigint[]): bigint => list.reduce((a, b) => a + b, 0n);

const digit = (lane: number, d: number): Step => ({ lane, cumulative: BigInt(d), frequency: 1n, bits: 4n });

function has({ offset, frequencies }: Distribution, symbol: number): boolean {
  return symbol >= offset && symbol < offset + frequencies.length - 1;
}

function symbolSteps(lane: number, symbol: number, table: Distribution): Step[] {
  const { frequencies, offset } = table;
  const escape = frequencies.length - 1;
  const entry = (k: number): Step => {
    let cumulative = 0;
    for (let i = 0; i < k; i++) cumulative += frequencies[i]!;
    return { lane, cumulative: BigInt(cumulative), frequency: BigInt(frequencies[k]!), bits: 16n };
  };
  if (has(table, symbol)) return [entry(symbol - offset)];
  const value = symbol >= 0 ? 2n * BigInt(symbol) : -2n * BigInt(symbol) - 1n;
  const digits = value === 0n ? [] : Array.from(value.toString(16), (d) => Number.parseInt(d, 16));
  return [entry(escape), digit(lane, digits.length), ...digits.map((d) => digit(lane, d))];
}

/** The place of the likeliest symbol: not the escape, the first of equals. */
function likeliest({ frequencies }: Distribution): number {
  let best = 0;
  for (let k = 1; k < frequencies.length - 1; k++) if (frequencies[k]! > frequencies[best]!) best = k;
  return best;
}

const likeliestSymbol = (table: Distribution): number => table.offset + likeliest(table);

function flagChance(frequency: number, length: number): bigint {
  let chance = 65536n;
  let power = BigInt(frequency);
  for (let n = length; n > 0; n = Math.floor(n / 2)) {
    if (n % 2 === 1) chance = (chance * power) / 65536n;
    power = (power * power) / 65536n;
  }
  if (length < 2 || chance < 1024n) return 0n;
  return chance < 65535n ? chance : 65535n;
}

function runSteps(symbols: readonly number[], table: Distribution, lanes: number): Step[] {
  const chance = flagChance(table.frequencies[likeliest(table)]!, symbols.length);
  const all = symbols.every((symbol) => symbol === likeliestSymbol(table));
  const flag: Step =
    all && chance > 0n
      ? { lane: 0, cumulative: 0n, frequency: chance, bits: 16n }
      : { lane: 0, cumulative: chance, frequency: 65536n - chance, bits: 16n };
  const steps = symbols.flatMap((symbol, j) => symbolSteps(j % lanes, symbol, table));
  if (chance === 0n) return steps;
  return all ? [flag] : [flag, ...steps];
}

/** log2 of an integer, rounded down to 10 binary places, times 1024. */
function log2Places(frequency: number): number {
  const w = frequency.toString(2).length - 1;
  let m = frequency * 2 ** (15 - w);
  let places = w;
  for (let place = 0; place < 10; place++) {
    m = Math.floor((m * m) / 2 ** 15);
    const one = m >= 2 ** 16;
    places = 2 * places + (one ? 1 : 0);
    if (one) m = Math.floor(m / 2);
  }
  return places;
}

/** What the likeliest symbol and what the others of a table are taken to cost, in 1/1024 bits. */
function costsOf(table: Distribution): { likely: bigint; others: bigint } {
  const likely = likeliest(table);
  const escape = table.frequencies.length - 1;
  const cost = (k: number): number => 16 * 1024 - log2Places(table.frequencies[k]!);
  let others = 0n;
  for (let k = 0; k <= escape; k++) {
    if (k !== likely) others += BigInt(table.frequencies[k]! * (cost(k) + (k === escape ? 12 * 1024 : 0)));
  }
  return { likely: BigInt(cost(likely)), others: others / BigInt(65536 - table.frequencies[likely]!) };
}

function chosenLanes(message: Message): Lanes {
  const costs = new Map([...new Set(message.symbols.map((_, i) => tableOf(message, i)))].map((t) => [t, costsOf(message.tables[t]!)])); // prettier-ignore
  const likely = message.tables.map(likeliestSymbol);
  const bits = sum(
    message.symbols.map((symbol, i) => {
      const table = tableOf(message, i);
      return symbol === likely[table] ? costs.get(table)!.likely : costs.get(table)!.others;
    }),
  );
  if (bits >= 2048n * 8n * 1024n) return 4;
  return bits >= 1024n * 8n * 1024n ? 2 : 1;
}

function tableOf(message: Message, i: number): number {
  return 'indexes' in message ? message.indexes[i]! : message.runs[Math.floor(i / message.length)]!;
}

function naiveEncode(message: Message, lanes?: Lanes): Uint8Array {
  if (lanes === undefined) {
    const chosen = chosenLanes(message);
    const bytes = naiveEncode(message, chosen);
    return chosen === 4 && bytes.length < 1600 ? naiveEncode(message, 2) : bytes;
  }
  const { tables, symbols } = message;
  const steps =
    'indexes' in message
      ? symbols.flatMap((symbol, i) => symbolSteps(i % lanes, symbol, tables[message.indexes[i]!]!))
      : message.runs.flatMap((table, r) =>
          runSteps(symbols.slice(r * message.length, (r + 1) * message.length), tables[table]!, lanes),
        );
  const states = Array.from({ length: lanes }, () => 2n ** 23n);
  const bytes: number[] = [];
  for (const { lane, cumulative, frequency, bits } of steps.toReversed()) {
    let x = states[lane]!;
    while (x >= frequency * 2n ** (31n - bits)) {
      bytes.push(Number(x % 256n));
      x /= 256n;
    }
    states[lane] = (x / frequency) * 2n ** bits + cumulative + (x % frequency);
  }
  for (let lane = lanes - 1; lane >= 0; lane--) {
    const word = states[lane]! + (lane < lanes - 1 ? 2n ** 31n : 0n);
    for (const place of [0n, 8n, 16n, 24n]) bytes.push(Number((word >> place) % 256n));
  }
  return Uint8Array.from(bytes);
}

// ---- Messages: any tables, which of them codes what, symbols of every kind ----

/** Frequencies in proportion to the weights, each at least 1; the last one is the escape's. */
function frequenciesOf(weights: readonly number[]): number[] {
  const total = weights.reduce((a, b) => a + b, 0) || 1;
  const frequencies = weights.map((w) => 1 + Math.floor((w / total) * (65536 - weights.length)));
  const missing = 65536 - frequencies.reduce((a, b) => a + b, 0);
  return frequencies.map((f, k) => (k === 0 ? f + missing : f));
}

const offsets = fc.oneof(fc.integer({ min: -40, max: 40 }), fc.integer({ min: -32768, max: 32700 }));

const distributions: fc.Arbitrary<Distribution> = fc.oneof(
  // any shape
  {
    weight: 24,
    arbitrary: fc.record({
      offset: offsets,
      frequencies: fc.array(fc.nat(1000), { minLength: 2, maxLength: 40 }).map(frequenciesOf),
    }),
  },
  // a latent's: zero in the middle takes most
  {
    weight: 24,
    arbitrary: fc
      .record({
        width: fc.integer({ min: 1, max: 30 }),
        ratio: fc.double({ min: 0.001, max: 0.9, noNaN: true }),
      })
      .map(
        // prettier-ignore
        ({ width, ratio }) => ({
        offset: -width,
        frequencies: frequenciesOf([
          ...Array.from({ length: 2 * width + 1 }, (_, k) => ratio ** Math.abs(k - width)),
          0,
        ]),
      }),
      ),
  },
  // two entries; one of them may take all that there is, or the escape almost nothing
  {
    weight: 12,
    arbitrary: fc.record({
      offset: offsets,
      frequencies: fc
        .oneof(fc.constantFrom(1, 2, 65534, 65535), fc.integer({ min: 1, max: 65535 }))
        .map((f) => [f, 65536 - f]),
    }),
  },
  // equals, and a likeliest symbol that is not the first
  {
    weight: 8,
    arbitrary: fc.constantFrom(
      { offset: 5, frequencies: [16384, 16384, 16384, 16384] },
      { offset: -2, frequencies: [1, 1, 65533, 1] },
      { offset: 0, frequencies: [1, 1, 1, 65533] },
    ),
  },
  // as wide as can be: every int16 but the largest
  {
    weight: 1,
    arbitrary: fc.constant({ offset: -32768, frequencies: new Uint16Array(65536).fill(1) }),
  },
);

type Choose = (table: Distribution) => number;

const likelySymbols: fc.Arbitrary<Choose> = fc.constant(likeliestSymbol);

const symbols: fc.Arbitrary<Choose> = fc.oneof(
  { weight: 8, arbitrary: likelySymbols },
  {
    weight: 8,
    arbitrary: fc.nat().map(
      (n): Choose =>
        ({ offset, frequencies }) =>
          offset + (n % (frequencies.length - 1)),
    ),
  },
  {
    weight: 2,
    // beside the table
    arbitrary: fc.integer({ min: -3, max: 3 }).map(
      (n): Choose =>
        ({ offset, frequencies }) =>
          n < 0 ? offset + n : offset + frequencies.length - 1 + n,
    ),
  },
  {
    weight: 2,
    arbitrary: fc
      .oneof(fc.integer(), fc.constantFrom(-(2 ** 31), 2 ** 31 - 1, -32769, -32768, 32767, 32768, 0, -1))
      .map(
        (symbol): Choose =>
          () =>
            symbol,
      ),
  },
);

const pools = fc.array(distributions, { minLength: 1, maxLength: 4 });

const indexed: fc.Arbitrary<Message> = fc
  .record({
    tables: pools,
    coded: fc.array(fc.tuple(fc.nat(), symbols), { maxLength: 90 }),
  })
  .map(({ tables, coded }) => ({
    tables,
    indexes: coded.map(([n]) => n % tables.length),
    symbols: coded.map(([n, choose]) => choose(tables[n % tables.length]!)),
  }));

const runs: fc.Arbitrary<Message> = fc
  .record({
    tables: pools,
    length: fc.oneof(
      { weight: 12, arbitrary: fc.constantFrom(0, 1, 2, 3, 5, 8, 49) },
      { weight: 3, arbitrary: fc.nat(70) },
      { weight: 1, arbitrary: fc.constant(784) },
    ),
  })
  .chain(({ tables, length }) =>
    fc
      .array(
        fc.tuple(
          fc.nat(),
          fc.oneof(
            fc.constant<readonly Choose[]>(Array.from({ length }, () => likeliestSymbol)),
            fc.array(symbols, { minLength: length, maxLength: length }),
          ),
        ),
        { maxLength: length > 70 ? 2 : 6 },
      )
      .map((list) => ({
        tables,
        length,
        runs: list.map(([n]) => n % tables.length),
        symbols: list.flatMap(([n, chosen]) => chosen.map((choose) => choose(tables[n % tables.length]!))),
      })),
  );

const messages = fc.oneof(indexed, runs);

// ---- Engines against it ----

function indexesOf(message: Message): Indexes {
  return 'indexes' in message
    ? Uint16Array.from(message.indexes)
    : { tables: Uint16Array.from(message.runs), length: message.length };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const isInt16 = (symbol: number): boolean => symbol === (symbol << 16) >> 16;

test('both engines are here', () => {
  expect(engines()).toEqual(['wasm', 'plain']);
});

const LANES: readonly (Lanes | undefined)[] = [1, 2, 4, undefined];

describe.each<EngineName>(['wasm', 'plain'])('%s against the naive coder', (engine) => {
  /** Asserts that the message has the naive coder's bytes, with each number of lanes, and comes back. */
  function check(message: Message): void {
    const tables = RansTables.fromFrequencies(message.tables);
    const indexes = indexesOf(message);
    const wide = Int32Array.from(message.symbols);
    const narrow = message.symbols.every(isInt16) ? Int16Array.from(message.symbols) : undefined;
    for (const lanes of LANES) {
      const expected = naiveEncode(message, lanes);
      const options = lanes === undefined ? { engine } : { engine, lanes };
      expect(hex(encode(wide, indexes, tables, options))).toBe(hex(expected));
      expect([...decode(expected, indexes, tables, { engine })]).toEqual(message.symbols);
      const out = new Int32Array(wide.length);
      expect(decode(expected, indexes, tables, { engine, out })).toBe(out);
      expect([...out]).toEqual(message.symbols);
      if (narrow === undefined) continue;
      expect(hex(encode(narrow, indexes, tables, options))).toBe(hex(expected));
      const short = new Int16Array(narrow.length);
      expect([...decode(expected, indexes, tables, { engine, out: short })]).toEqual(message.symbols);
    }
  }

  test('an index for each symbol', () => {
    fc.assert(fc.property(indexed, check), { seed: 1, numRuns: 400 });
  });

  test('runs', () => {
    fc.assert(fc.property(runs, check), { seed: 2, numRuns: 400 });
  });

  // Every symbol of this table is expected to cost 16 bits: 511 of them 1,022 bytes, 512 of them 1,024.
  const even: Distribution = { offset: -32768, frequencies: new Uint16Array(65536).fill(1) };
  test.each<[number, Lanes]>([
    [511, 1],
    [512, 2],
    [1023, 2],
    [1024, 4],
  ])('%i symbols of 2 bytes have %i lanes', (length, lanes) => {
    const bytesOfSymbols = 2 * length + 4 * lanes;
    const list = Array.from({ length }, (_, i) => ((i * 40503) % 65535) - 32768);
    const message: Message = { tables: [even], symbols: list, runs: [0], length };
    expect(chosenLanes(message)).toBe(lanes);
    const tables = RansTables.fromFrequencies([even]);
    for (const indexes of [new Uint16Array(length), { tables: new Uint16Array(1), length }]) {
      const bytes = encode(Int16Array.from(list), indexes, tables, { engine });
      expect(bytes.length).toBe(bytesOfSymbols);
      expect(hex(bytes)).toBe(hex(encode(Int16Array.from(list), indexes, tables, { engine, lanes })));
      expect(hex(bytes)).toBe(hex(naiveEncode(message)));
    }
  });

  test('the size is the information and the states, and no more', () => {
    fc.assert(
      fc.property(indexed, ({ symbols: list, ...message }) => {
        const tables = RansTables.fromFrequencies(message.tables);
        const indexes = indexesOf({ symbols: list, ...message });
        const bits = list.reduce((a, symbol, i) => a + tables.bits(tableOf({ symbols: list, ...message }, i), symbol), 0); // prettier-ignore
        const bytes = encode(Int32Array.from(list), indexes, tables, { engine, lanes: 1 });
        // 23 bits of the first state, the last one's 24 to 31 in 32 bits, and a step is off by 2^-7 at most
        const overhead = 8 * bytes.length - bits;
        expect(Math.abs(overhead - 28)).toBeLessThanOrEqual(4 + 0.012 * list.length);
      }),
      { seed: 3, numRuns: 400 },
    );
  });
});

// ---- Hostile bytes: both engines say the same, and what they accept is what the encoder writes ----

/** Symbols, or the code and message of what was thrown. */
function outcome(
  engine: EngineName,
  bytes: Uint8Array,
  indexes: Indexes,
  tables: RansTables,
  out: Int16Array | Int32Array,
): number[] | string {
  try {
    return [...decode(bytes, indexes, tables, { engine, out })];
  } catch (error) {
    if (error instanceof RansError) return `${error.code}: ${error.message}`;
    throw error;
  }
}

function attack(bytes: Uint8Array, indexes: Indexes, tables: RansTables, count: number): void {
  for (const out of [new Int32Array(count), new Int16Array(count)]) {
    const plain = outcome('plain', bytes, indexes, tables, out);
    expect(outcome('wasm', bytes, indexes, tables, out)).toEqual(plain);
    if (typeof plain === 'string') continue;
    const lanes = lanesOf(bytes);
    for (const engine of engines()) {
      expect(hex(encode(Int32Array.from(plain), indexes, tables, { engine, lanes }))).toBe(hex(bytes));
    }
  }
}

/** The lanes of a stream that is right. */
function lanesOf(bytes: Uint8Array): Lanes {
  if (bytes.at(-1)! < 128) return 1;
  return bytes.at(-5)! < 128 ? 2 : 4;
}

const damages: fc.Arbitrary<(bytes: Uint8Array) => Uint8Array> = fc.oneof(
  fc.nat().map((n) => (bytes: Uint8Array) => {
    const damaged = bytes.slice();
    const bit = n % (8 * bytes.length);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    return damaged;
  }),
  fc.nat().map((n) => (bytes: Uint8Array) => bytes.slice(0, n % bytes.length)),
  fc.nat().map((n) => (bytes: Uint8Array) => bytes.slice(n % bytes.length)),
  fc
    .uint8Array({ minLength: 1, maxLength: 6 })
    .map((more) => (bytes: Uint8Array) => Uint8Array.of(...more, ...bytes)),
  fc
    .uint8Array({ minLength: 1, maxLength: 6 })
    .map((more) => (bytes: Uint8Array) => Uint8Array.of(...bytes, ...more)),
  fc.uint8Array({ maxLength: 40 }).map((random) => () => random),
);

describe('hostile bytes', () => {
  test('damaged streams and random bytes', () => {
    fc.assert(
      fc.property(messages, fc.constantFrom(...LANES), damages, (message, lanes, damage) => {
        const tables = RansTables.fromFrequencies(message.tables);
        const indexes = indexesOf(message);
        const bytes = damage(naiveEncode(message, lanes));
        attack(bytes, indexes, tables, message.symbols.length);
      }),
      { seed: 4, numRuns: 800 },
    );
  });

  test('a stream read with other tables, other indexes, other lengths', () => {
    fc.assert(
      fc.property(messages, messages, fc.constantFrom(...LANES), (message, other, lanes) => {
        const tables = RansTables.fromFrequencies(other.tables);
        attack(naiveEncode(message, lanes), indexesOf(other), tables, other.symbols.length);
        attack(naiveEncode(message, lanes), indexesOf(message), tables, message.symbols.length);
      }),
      { seed: 5, numRuns: 250 },
    );
  });

  test.each<Lanes>([1, 2, 4])('a stream of %i lanes cut at every length', (lanes) => {
    const tables = RansTables.fromFrequencies([
      { offset: -4, frequencies: frequenciesOf([1, 3, 9, 27, 81, 27, 9, 3, 1, 1]) },
    ]);
    const list = Int32Array.from({ length: 200 }, (_, i) => ((i * 7919) % 11) - 5); // -5 and 5 escape
    const indexes = new Uint16Array(list.length);
    const bytes = encode(list, indexes, tables, { lanes });
    for (let length = 0; length < bytes.length; length++) {
      // the end is what a decoder reads first
      attack(bytes.subarray(0, length), indexes, tables, list.length);
      const tail = outcome('wasm', bytes.subarray(bytes.length - length), indexes, tables, list.slice());
      expect(tail).toMatch(/^truncated: /);
    }
  });
});
