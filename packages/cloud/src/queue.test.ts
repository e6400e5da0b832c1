import { expect, test, vi } from 'vitest';
import { BatchQueue, type BatchLimits, type Queued } from './queue.ts';

interface Item extends Queued {
  id: number;
  settled: boolean;
}

function setUp(limits: Partial<BatchLimits> = {}, freeWorkers = 1) {
  const workers = { free: freeWorkers };
  const batches: number[][] = [];
  const queue = new BatchQueue<Item>(
    { maxBatch: 4, maxBatchDelayMs: 0, maxQueue: 100, ...limits },
    () => workers.free > 0,
    (batch) => {
      workers.free--;
      batches.push(batch.map((item) => item.id));
    },
  );
  const push = (id: number): Item | undefined => {
    const item = { id, settled: false, arrivedAt: performance.now() };
    return queue.push(item) ? item : undefined;
  };
  const finish = (): void => {
    workers.free++;
    queue.schedule();
  };
  return { queue, batches, push, finish };
}

test('an idle worker takes the first request at once; the others gather while it runs', () => {
  const { batches, push, finish } = setUp();
  for (let id = 1; id <= 6; id++) push(id);
  expect(batches).toEqual([[1]]);
  finish();
  finish();
  expect(batches).toEqual([[1], [2, 3, 4, 5], [6]]);
});

test('with a delay, a batch waits for company but not when it is full', () => {
  vi.useFakeTimers();
  try {
    const { batches, push, finish } = setUp({ maxBatchDelayMs: 5, maxBatch: 3 });
    push(1);
    push(2);
    expect(batches).toEqual([]);
    vi.advanceTimersByTime(5);
    expect(batches).toEqual([[1, 2]]);
    finish();
    for (let id = 3; id <= 5; id++) push(id);
    expect(batches).toEqual([
      [1, 2],
      [3, 4, 5],
    ]);
  } finally {
    vi.useRealTimers();
  }
});

test('settled requests are dropped when the batch is cut', () => {
  const { batches, push, finish } = setUp();
  push(1);
  const second = push(2)!;
  push(3);
  second.settled = true;
  finish();
  expect(batches).toEqual([[1], [3]]);
});

test('a full queue refuses, unless settled requests make room', () => {
  const { push } = setUp({ maxQueue: 2 }, 0);
  const first = push(1)!;
  push(2);
  expect(push(3)).toBeUndefined();
  first.settled = true;
  expect(push(4)).toBeDefined();
});
