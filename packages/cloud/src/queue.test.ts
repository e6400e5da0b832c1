import { expect, test } from 'vitest';
import { RequestQueue, type Queued, type QueueLimits } from './queue.ts';

interface Item extends Queued {
  id: number;
}

function setUp(limits: Partial<QueueLimits> = {}) {
  const queue = new RequestQueue<Item>({ maxQueue: 100, maxQueueBytes: 1e6, ...limits });
  const shed: number[] = [];
  let ids = 0;
  const add = (caller: string, changes: Partial<Queued> = {}) => {
    const item: Item = { id: ++ids, model: 'm', caller, priority: 0, bytes: 10, ...changes };
    return { item, full: queue.push(item, (other) => shed.push(other.id)) };
  };
  const push = (caller: string, changes?: Partial<Queued>) => add(caller, changes).full;
  const cut = (max: number, model = 'm') => queue.cut(model, max).map(({ id }) => id);
  return { queue, shed, add, push, cut };
}

test('one caller: first come, first served', () => {
  const { push, cut, queue } = setUp();
  for (let id = 1; id <= 5; id++) expect(push('a')).toBeUndefined();
  expect([queue.requests, queue.bytes]).toEqual([5, 50]);
  expect([cut(3), cut(3), cut(3)]).toEqual([[1, 2, 3], [4, 5], []]);
  expect([queue.requests, queue.bytes]).toEqual([0, 0]);
});

test('callers take turns, from one batch to the next', () => {
  const { push, cut } = setUp();
  for (let id = 1; id <= 6; id++) push('greedy');
  push('b'); // 7
  push('c'); // 8
  push('b'); // 9
  expect(cut(4)).toEqual([1, 7, 8, 2]);
  expect(cut(4)).toEqual([9, 3, 4, 5]);
});

test('background requests are served from what is left', () => {
  const { push, cut } = setUp();
  push('a', { priority: 1 });
  push('a');
  push('b', { priority: 1 });
  push('a');
  expect(cut(3)).toEqual([2, 4, 1]);
  expect(cut(3)).toEqual([3]);
});

test('a batch has one model; models take turns, those with normal requests first', () => {
  const { push, cut, queue } = setUp();
  push('a', { model: 'x', priority: 1 });
  push('a', { model: 'y' });
  push('a', { model: 'y' });
  push('a', { model: 'z' });
  expect([...queue.waiting()]).toEqual([
    ['y', 2],
    ['z', 1],
    ['x', 1],
  ]);
  expect(cut(1, 'y')).toEqual([2]);
  expect([...queue.waiting()].map(([model]) => model)).toEqual(['z', 'y', 'x']);
  expect([...queue.of('y')].map(({ id }) => id)).toEqual([3]);
  expect(cut(9, 'nobody')).toEqual([]);
});

test('what is removed is not cut, counts no more, and can be removed again', () => {
  const { add, cut, queue } = setUp();
  const [first, second] = [add('a').item, add('a').item];
  queue.remove(first);
  queue.remove(first);
  expect([queue.requests, queue.bytes]).toEqual([1, 10]);
  expect(cut(9)).toEqual([second.id]);
  queue.remove(second);
  expect([queue.requests, queue.bytes]).toEqual([0, 0]);
});

test('a full queue refuses the caller that filled it', () => {
  const { push, shed } = setUp({ maxQueue: 3 });
  for (let i = 0; i < 3; i++) expect(push('a')).toBeUndefined();
  expect(push('a')).toBe('requests');
  expect(shed).toEqual([]);
});

test('a full queue makes room for others: whoever has the most loses its newest', () => {
  const { push, shed, cut } = setUp({ maxQueue: 4 });
  for (let i = 0; i < 4; i++) push('greedy');
  expect(push('b')).toBeUndefined();
  expect(shed).toEqual([4]);
  expect(push('b')).toBeUndefined();
  expect(shed).toEqual([4, 3]);
  expect(push('b')).toBe('requests'); // two each
  expect(push('c')).toBeUndefined(); // whoever of the two
  expect(shed).toHaveLength(3);
  expect(cut(9)).toHaveLength(4);
});

test('a full queue sheds background requests first, and they never push a normal one out', () => {
  const { push, shed } = setUp({ maxQueue: 3 });
  push('a', { priority: 1 });
  push('a');
  push('a');
  expect(push('b', { priority: 1 })).toBe('requests');
  expect(push('a')).toBeUndefined();
  expect(shed).toEqual([1]);
  expect(push('b', { priority: 1 })).toBe('requests');
});

test('bytes are bounded like requests', () => {
  const { push, shed, queue } = setUp({ maxQueueBytes: 100 });
  expect(push('a', { bytes: 101 })).toBe('bytes'); // no room for it even in an empty queue
  for (let i = 0; i < 9; i++) push('a', { bytes: 11 });
  expect(push('a', { bytes: 11 })).toBe('bytes');
  expect(push('b', { bytes: 20 })).toBeUndefined();
  expect(shed).toEqual([10, 9]);
  expect(queue.bytes).toBe(97);
});

test('how many go before a new one: no more of anybody than it has itself, and one', () => {
  const { push, queue } = setUp();
  for (let i = 0; i < 5; i++) push('greedy');
  for (let i = 0; i < 5; i++) push('greedy', { model: 'other', priority: 1 });
  const ahead = (caller: string, priority: 0 | 1) => [
    ...queue.ahead({ model: 'm', caller, priority, bytes: 0 }),
  ];
  expect(ahead('new', 0)).toEqual([
    ['m', 1],
    ['other', 0],
  ]);
  expect(ahead('greedy', 0)).toEqual([
    ['m', 5],
    ['other', 0],
  ]);
  expect(ahead('new', 1)).toEqual([
    ['m', 5],
    ['other', 1],
  ]);
});
