import { afterEach, describe, expect, test } from 'vitest';
import type { Hello, InferStream, ServiceLoad } from '@raccoon/transport';
import { carriers, good, hello, ManualService, payload, read, settle } from './support.ts';
import type { Cloud } from './support.ts';

// A cloud says how busy it is to whoever wants to know, and counts what others have sent.

class BusyService extends ManualService {
  now: ServiceLoad = { images: 0, imagesPerSecond: 100, utilisation: 0.5, draining: false };

  load(): ServiceLoad {
    return this.now;
  }
}

/** Ten times a second, which is as often as a cloud does it. */
const curious: Hello = { ...hello, loadIntervalMs: 1 };

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe.each(carriers)('load over $name', ({ start }) => {
  let cloud: Cloud | undefined;
  afterEach(async () => {
    await cloud?.stop();
  });

  async function open(service: ManualService, said: Hello): Promise<InferStream> {
    cloud = await start(service);
    return cloud.connect().openStream(said);
  }

  test('the first with the stream, the next when it has changed', async () => {
    const service = new BusyService();
    service.now = { ...service.now, images: 7 };
    const stream = await open(service, curious);
    await until(() => stream.load !== undefined);
    expect(stream.load).toEqual({ queueMs: 70, imagesPerSecond: 100, utilisation: 0.5, draining: false });
    service.now = { images: 7, imagesPerSecond: 50, utilisation: 1, draining: true };
    await until(() => stream.load!.draining);
    expect(stream.load).toEqual({ queueMs: 140, imagesPerSecond: 50, utilisation: 1, draining: true });
  });

  test("the stream's own images are not in it", async () => {
    const service = new BusyService();
    const stream = await open(service, curious);
    for (const id of [1, 2]) await stream.send({ id, payload: payload(id) });
    await service.call(2);
    service.now = { ...service.now, images: 3 };
    await until(() => stream.load?.queueMs !== 0);
    expect(stream.load!.queueMs).toBe(10); // of one
    (await service.call(1)).answer(good(1));
    expect(await read(stream)).toEqual(good(1)); // answers come as ever
  });

  test('a cloud that has measured nothing knows no time', async () => {
    const service = new BusyService();
    service.now = { images: 7, imagesPerSecond: 0, utilisation: 0, draining: false };
    const stream = await open(service, curious);
    await until(() => stream.load !== undefined);
    expect(stream.load).toMatchObject({ queueMs: 0, imagesPerSecond: 0 });
  });

  test.each<[string, ManualService, Hello]>([
    ['who has not asked is told nothing', new BusyService(), hello],
    ['a service without it tells nothing', new ManualService(), curious],
  ])('%s', async (_, service, said) => {
    const stream = await open(service, said);
    await stream.send({ id: 1, payload: payload(1) });
    (await service.call(1)).answer(good(1));
    expect(await read(stream)).toEqual(good(1));
    await settle();
    expect(stream.load).toBeUndefined();
  });
});
