import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { DnsReplicas, type DnsReplicasOptions } from './dns.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Names, and what they stand for. */
class Zone {
  readonly asked: string[] = [];
  addresses: Record<string, readonly string[]> = {};

  readonly resolve = async (host: string): Promise<readonly string[]> => {
    this.asked.push(host);
    const found = this.addresses[host];
    if (!found) throw new Error('ENOTFOUND');
    return found;
  };
}

const dialled: [string, string | undefined][] = [];

function replicas(zone: Zone, addresses: string[], options: Partial<DnsReplicasOptions> = {}): DnsReplicas {
  return new DnsReplicas({
    addresses,
    resolve: zone.resolve,
    random: () => 0.5,
    dial(address, host) {
      dialled.push([address, host]);
      return { openStream: () => Promise.reject(new Error()), close: async () => undefined };
    },
    ...options,
  });
}

const addressesOf = ({ ways }: DnsReplicas): string[] => ways.map(({ address }) => address);

test('every address of a name, beside those that are given', async () => {
  const zone = new Zone();
  zone.addresses = { cloud: ['10.0.0.1', 'fd00::1'] };
  const found = replicas(zone, ['dns:///cloud:50051', 'dns:cloud:7', 'other:1']);
  await found.open(() => undefined);
  expect(addressesOf(found)).toEqual([
    '10.0.0.1:50051',
    '[fd00::1]:50051',
    '10.0.0.1:7',
    '[fd00::1]:7',
    'other:1',
  ]);
  found.ways[1]!.dial();
  found.ways[4]!.dial();
  expect(dialled).toEqual([
    ['[fd00::1]:50051', 'cloud'],
    ['other:1', undefined],
  ]);
  found.close();
});

test('a name is looked up now and then; what stays is the same way', async () => {
  const zone = new Zone();
  zone.addresses = { cloud: ['10.0.0.1', '10.0.0.2'] };
  const found = replicas(zone, ['dns:///cloud:1']);
  const changed = vi.fn();
  await found.open(changed);
  const [, second] = found.ways;
  await vi.advanceTimersByTimeAsync(5000);
  expect(zone.asked).toHaveLength(2);
  expect(changed).not.toHaveBeenCalled();
  zone.addresses = { cloud: ['10.0.0.3', '10.0.0.2'] };
  await vi.advanceTimersByTimeAsync(5000);
  expect(changed).toHaveBeenCalledExactlyOnceWith(undefined);
  expect(addressesOf(found)).toEqual(['10.0.0.3:1', '10.0.0.2:1']);
  expect(found.ways[1]).toBe(second);
  found.close();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(zone.asked).toHaveLength(3);
});

test('a lost replica makes it look at once, and not all the time', async () => {
  const zone = new Zone();
  zone.addresses = { cloud: ['10.0.0.1'] };
  const found = replicas(zone, ['dns:///cloud:1']);
  await found.open(() => undefined);
  await vi.advanceTimersByTimeAsync(2000);
  for (let i = 0; i < 9; i++) found.look();
  await vi.advanceTimersByTimeAsync(1);
  expect(zone.asked).toHaveLength(2);
  for (let i = 0; i < 9; i++) found.look();
  await vi.advanceTimersByTimeAsync(900);
  expect(zone.asked).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(101);
  expect(zone.asked).toHaveLength(3);
  found.close();
});

test('a name that is not found any more stands for what it did', async () => {
  const zone = new Zone();
  zone.addresses = { cloud: ['10.0.0.1'] };
  const found = replicas(zone, ['dns:///cloud:1']);
  const changed = vi.fn();
  await found.open(changed);
  for (const gone of [{}, { cloud: [] }]) {
    zone.addresses = gone;
    await vi.advanceTimersByTimeAsync(5000);
    expect(addressesOf(found)).toEqual(['10.0.0.1:1']);
  }
  expect(changed.mock.calls.map(([error]) => error.message)).toEqual([
    expect.stringMatching(/^cloud cannot be found \(ENOTFOUND\)/),
    expect.stringMatching(/^cloud cannot be found \(it has no address\)/),
  ]);
  found.close();
});

test('a name that never was is an error, and is found once it is there', async () => {
  const zone = new Zone();
  const found = replicas(zone, ['dns:///cloud:1']);
  const changed = vi.fn();
  await expect(found.open(changed)).rejects.toMatchObject({ code: 'unavailable' });
  zone.addresses = { cloud: ['10.0.0.1'] };
  await vi.advanceTimersByTimeAsync(5000);
  expect(changed).toHaveBeenCalledExactlyOnceWith(undefined);
  expect(addressesOf(found)).toEqual(['10.0.0.1:1']);
  found.close();
});

test('those that look at one moment do not look at one moment again', async () => {
  const zone = new Zone();
  zone.addresses = { cloud: ['10.0.0.1'] };
  const draws = [0, 0.99];
  const all = draws.map((draw) =>
    replicas(zone, ['dns:///cloud:1'], { intervalMs: 1000, random: () => draw }),
  );
  for (const found of all) await found.open(() => undefined);
  await vi.advanceTimersByTimeAsync(751);
  expect(zone.asked).toHaveLength(3);
  await vi.advanceTimersByTimeAsync(495);
  expect(zone.asked).toHaveLength(4);
  for (const found of all) found.close();
});

test.each(['dns:///cloud', 'dns://8.8.8.8/cloud:1', 'dns:///:1', 'dns:'])(
  '%s is no name and port',
  (address) => {
    expect(() => replicas(new Zone(), [address])).toThrow(/dns:\/\/\/cloud\.example:50051/);
  },
);

test('settings that make no sense', () => {
  expect(() => replicas(new Zone(), ['dns:///cloud:1'], { intervalMs: 0 })).toThrow(/dns\.intervalMs/);
});

test('without a resolver of its own, as this machine looks names up', async () => {
  vi.useRealTimers();
  const found = new DnsReplicas({ addresses: ['dns:///localhost:7'], dial: () => expect.unreachable() });
  await found.open(() => undefined);
  found.close();
  expect(addressesOf(found)).toEqual(
    expect.arrayContaining([expect.stringMatching(/^(127\.0\.0\.1|\[::1\]):7$/)]),
  );
});
