/// <reference lib="dom" />
import { basename, join } from 'node:path';
import { connect as connectNode } from '@raccoon/client';
import { encodeBitstream } from '@raccoon/codec';
import { startCloud, type Cloud, type CloudOptions } from '@raccoon/cloud';
import { openEdge, readPixels } from '@raccoon/edge/node';
import { chromium, type Browser, type Page } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { root, samples, shippedBundle } from '../helpers/paths.ts';
import { executable, where } from './chromium.ts';
import { bundlePage, pageListener, servePage } from './edge-page.ts';

// The edge in a page: the client's browser entry, bundled from its sources, against a real cloud.

const LIMIT_MS = 180_000; // for something that hangs

/** V8 then has no WebAssembly SIMD, as on processors without it. */
const WITHOUT_SIMD = ['--js-flags=--no-enable-sse4-1'];

const start = (options: Partial<CloudOptions> = {}): Promise<Cloud> =>
  startCloud({
    bundle: shippedBundle,
    listen: '127.0.0.1:0',
    httpListen: '127.0.0.1:0',
    workers: 1,
    maxQueueMs: 60_000, // a busy machine is no reason to refuse here
    ...options,
  });

/** What `connect` fails with there. */
const failure = (page: Page, options: object = {}): Promise<string> =>
  page.evaluate((more) => failureOf(raccoon.client.connect({ cloud: location.origin, ...more })), options);

/** Connects in `page` and says how many bytes of bundle files came from the cloud. */
const connected = (page: Page, options: object = {}): Promise<number> =>
  page.evaluate(async (more) => {
    let fetched = 0;
    const client = await raccoon.client.connect({
      cloud: location.origin,
      fetch: async (input, init) => {
        const response = await fetch(input, { ...init, cache: 'no-store' });
        if (/\/bundle\/[^/]+\/[^/]+$/.test(new URL(response.url).pathname)) {
          fetched += (await response.clone().arrayBuffer()).byteLength;
        }
        return response;
      },
      ...more,
    });
    await client.classify({ data: new Uint8Array(150_528), width: 224, height: 224 });
    await client.close();
    return fetched;
  }, options);

/** Turns one byte of everything that is kept. Returns how many files that were. */
const damage = (page: Page): Promise<number> =>
  page.evaluate(async () => {
    const cache = await caches.open('raccoon');
    const keys = (await cache.keys()).filter(({ url }) => url.includes('/sha256/'));
    for (const key of keys) {
      const bytes = new Uint8Array(await (await cache.match(key))!.arrayBuffer());
      bytes[bytes.length >> 1]! ^= 1;
      await cache.put(key, new Response(bytes));
    }
    return keys.length;
  });

describe.skipIf(executable === undefined)(`the edge in headless Chromium (${where})`, () => {
  let scripts: ReadonlyMap<string, string>;
  let cloud: Cloud;
  let origin: string;
  let browser: Browser;

  beforeAll(async () => {
    scripts = await bundlePage();
    cloud = await start({ httpFallback: pageListener(scripts) });
    origin = `http://${cloud.httpAddress}`;
    browser = await chromium.launch({ executablePath: executable! });
  }, LIMIT_MS);

  afterAll(async () => {
    await browser?.close();
    await cloud?.close();
  });

  /** A page with a profile of its own, that is closed with the test. */
  async function open(query = '', from = origin, by = browser): Promise<Page> {
    const context = await by.newContext();
    onTestFinished(() => context.close());
    const page = await context.newPage();
    page.on('pageerror', (error) => expect.unreachable(error.message));
    await page.goto(`${from}/?${query}`);
    await page.waitForFunction(() => 'raccoon' in globalThis);
    return page;
  }

  describe('what it computes', () => {
    let page: Page;
    beforeAll(async () => {
      const context = await browser.newContext();
      page = await context.newPage();
      await page.goto(origin);
      await page.waitForFunction(() => 'raccoon' in globalThis);
      await page.evaluate(async () => {
        globalThis.client = await raccoon.client.connect({ cloud: location.origin });
      });
    }, LIMIT_MS);
    afterAll(() => page?.context().close());

    /** Encodes pixels of the network's size in the page. */
    const encodeThere = (
      pixels: Uint8Array,
      point: number,
    ): Promise<{ symbols: number[]; bytes: number[] }> =>
      page.evaluate(
        async ({ base64, point: p }) => {
          const data = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
          const { symbols, slices } = await client.edge.encode({ data, width: 224, height: 224 }, p);
          return { symbols: [...symbols], bytes: [...slices[0]!] };
        },
        { base64: Buffer.from(pixels).toString('base64'), point },
      );

    test(
      'of the same pixels: the symbols of Node but for a rounding, and the bytes of its codec',
      async () => {
        const edge = await openEdge(shippedBundle, { threads: 1 });
        onTestFinished(() => edge.close());
        const { input, points } = edge.bundle.manifest;
        const ofEach = points
          .map((point, p) => ({ ...point, p }))
          .filter(({ q, precision }) => q === 2 && !precision);
        expect(ofEach.map(({ n }) => n)).toEqual([0, 2, 4, 8]);
        const { codec, manifest } = edge.bundle;
        const { height: h, width: w } = manifest.latent;
        let all = 0;
        let different = 0;
        for (const [i, photo] of samples.entries()) {
          const pixels = await readPixels(photo, input);
          const { p } = ofEach[i % ofEach.length]!;
          const here = await edge.encode({ data: pixels, width: 224, height: 224 }, p);
          const there = await encodeThere(pixels, p);
          const symbols = Int16Array.from(there.symbols);
          const apart = here.symbols.map((symbol, k) => Math.abs(symbol - symbols[k]!));
          expect(apart.every((by) => by <= 1)).toBe(true);
          different += apart.reduce((sum, by) => sum + by, 0);
          all += symbols.length;
          // the integers after it are the same everywhere
          const coded = encodeBitstream(symbols, { h, w }, p, codec)[0]!;
          expect(Buffer.compare(coded, Buffer.from(there.bytes))).toBe(0);
        }
        // sums of floats in another order: 5 of 9,000,000 on the machine of docs/web.md, and no two CPUs need agree
        expect(different / all).toBeLessThan(1e-4);
      },
      LIMIT_MS,
    );

    test(
      'of the same files: the first class of Node, but where two are as likely',
      async () => {
        const node = await connectNode({ cloud: cloud.address, bundle: shippedBundle });
        onTestFinished(() => node.close());
        const there = await page.evaluate(
          async (names) => {
            const images = await Promise.all(
              names.map(
                async (name) => new Uint8Array(await (await fetch(`/samples/${name}`)).arrayBuffer()),
              ),
            );
            const answers: { first: number; margin: number }[] = [];
            for await (const outcome of client.classify(images)) {
              if ('error' in outcome) throw outcome.error;
              answers[outcome.index] = { first: outcome.top[0]!.index, margin: outcome.margin };
            }
            return answers;
          },
          samples.map((path) => basename(path)),
        );
        const others: string[] = [];
        for await (const outcome of node.classify(samples)) {
          if ('error' in outcome) throw outcome.error;
          const { first, margin } = there[outcome.index]!;
          if (first === outcome.top[0]!.index) continue;
          others.push(basename(samples[outcome.index]!));
          // Node's photos are scaled by sharp, up to 2 levels of 255 beside Pillow
          expect(Math.min(margin, outcome.margin)).toBeLessThan(0.05);
        }
        expect(others.length, others.join()).toBeLessThanOrEqual(1);
      },
      LIMIT_MS,
    );

    test.each(['goldfish', 'espresso', 'koala', 'raccoon'])(
      '%s: the pixels are those of training, to the last bit',
      async (name) => {
        const golden = await sharp(join(root, `test/vectors/preprocess/${name}.png`))
          .raw()
          .toBuffer();
        const { input } = cloud.bundle.manifest;
        const base64 = await page.evaluate(
          async ({ file, size }) => {
            const bytes = new Uint8Array(await (await fetch(file)).arrayBuffer());
            const pixels = await raccoon.edge.readPixels(bytes, size);
            return btoa(Array.from(pixels, (value) => String.fromCharCode(value)).join(''));
          },
          { file: `/samples/${name}.jpg`, size: input },
        );
        expect(Buffer.compare(Buffer.from(base64, 'base64'), golden)).toBe(0);
      },
    );

    test('what a page has a picture in becomes pixels', async () => {
      const said = await page.evaluate(async () => {
        const { toRawImage } = raccoon.client;
        const canvas = document.createElement('canvas');
        canvas.width = 40;
        canvas.height = 30;
        const context = canvas.getContext('2d')!;
        context.fillStyle = '#f00';
        context.fillRect(0, 0, 20, 30);
        context.fillStyle = '#0000ff80';
        context.fillRect(20, 0, 20, 15); // half transparent; below it is nothing
        const png = await new Promise<Blob>((resolve) => canvas.toBlob((blob) => resolve(blob!)));
        const element = document.createElement('img');
        element.src = URL.createObjectURL(png);
        await element.decode();
        const frame = new VideoFrame(canvas, { timestamp: 0, alpha: 'keep' });
        const images = {
          canvas,
          png,
          element,
          frame,
          bitmap: await createImageBitmap(png),
          offscreen: new OffscreenCanvas(40, 30),
        };
        images.offscreen.getContext('2d')!.drawImage(canvas, 0, 0);
        const corners: Record<string, number[][]> = {};
        for (const [kind, image] of Object.entries(images)) {
          const { data, width, height } = await toRawImage(image);
          if (width !== 40 || height !== 30 || data.length !== 4800) throw new Error(kind);
          corners[kind] = [0, 39, 29 * 40 + 39].map((at) => [...data.subarray(4 * at, 4 * at + 4)]);
        }
        frame.close();
        const { data } = await toRawImage(new ImageData(Uint8ClampedArray.of(1, 2, 3, 4), 1, 1));
        return { corners, data: [...data] };
      });
      expect(said.data).toEqual([1, 2, 3, 4]);
      for (const [kind, [red, blue, none]] of Object.entries(said.corners)) {
        expect(red, kind).toEqual([255, 0, 0, 255]);
        // Chromium 156 mixes a VideoFrame's alpha twice; a camera has none
        if (kind !== 'frame') expect(blue, kind).toEqual([127, 127, 255, 255]);
        expect(none, kind).toEqual([255, 255, 255, 255]);
      }
    });

    test('what cannot be read is said with a code', async () => {
      const said = await page.evaluate(async () => {
        const canvas = document.createElement('canvas');
        canvas.width = 0;
        // the signature and header of a PNG of 100 megapixels
        const huge = Uint8Array.from(atob('iVBORw0KGgoAAAANSUhEUgAAJxAAACcQCAYAAAA='), (c) =>
          c.charCodeAt(0),
        );
        return {
          huge: await failureOf(client.classify(huge)),
          text: await failureOf(client.classify(new TextEncoder().encode('dear diary'))),
          path: await failureOf(client.classify('photos/cat.jpg')),
          small: await failureOf(client.classify({ data: new Uint8Array(12), width: 2, height: 2 })),
          raw: await failureOf(client.classify({ data: new Uint8Array(13), width: 2, height: 2 })),
          empty: await failureOf(raccoon.client.toRawImage(canvas)),
          video: await failureOf(raccoon.client.toRawImage(document.createElement('video'))),
        };
      });
      expect(said).toEqual({
        huge: expect.stringMatching(/^EdgeError image-too-large: the image has 100.0 megapixels/),
        text: expect.stringMatching(/^EdgeError not-an-image: .*browser can read/),
        path: expect.stringMatching(/^EdgeError not-found: .*give its bytes/),
        small: expect.stringMatching(/^EdgeError image-too-small/),
        raw: expect.stringMatching(/^EdgeError raw-size/),
        empty: expect.stringMatching(/^EdgeError not-an-image: .*no pixels yet/),
        video: expect.stringMatching(/^EdgeError not-an-image: .*no pixels yet/),
      });
    });

    test('EXIF orientation is applied, and a photo of the right size is not resampled', async () => {
      const wide = Buffer.alloc(224 * 224 * 3);
      for (let i = 0; i < 224 * 224; i++) wide.fill(i % 224 < 112 ? 250 : 10, 3 * i, 3 * i + 3);
      const png = await sharp(wide, { raw: { width: 224, height: 224, channels: 3 } })
        .withMetadata({ orientation: 6 })
        .png()
        .toBuffer();
      const [top, below] = await page.evaluate(
        async ({ bytes, size }) => {
          const pixels = await raccoon.edge.readPixels(Uint8Array.from(bytes), size);
          return [pixels[3 * (111 * 224 + 5)], pixels[3 * (112 * 224 + 5)]];
        },
        { bytes: [...png], size: cloud.bundle.manifest.input },
      );
      expect([top, below]).toEqual([250, 10]);
    });
  });

  describe('threads', () => {
    const encode = `async () => {
      const client = await raccoon.client.connect({ cloud: location.origin, threads: 2 });
      const data = Uint8Array.from({ length: 150528 }, (_, i) => Math.imul(i, 2654435761) >>> 24);
      const { slices } = await client.edge.encode({ data, width: 224, height: 224 });
      const { threads, isolated } = client.edge.runtime;
      await client.close();
      return { threads, isolated, bytes: [...slices[0]] };
    }`;
    const evaluate = (page: Page): Promise<{ threads: number; isolated: boolean; bytes: number[] }> =>
      page.evaluate(`(${encode})()`);

    test(
      'with isolation two, without one, in a worker as in a page: the bytes are the same',
      async () => {
        const isolated = await open('isolated');
        const two = await evaluate(isolated);
        expect(two).toMatchObject({ threads: 2, isolated: true });
        const one = await evaluate(await open());
        expect(one).toEqual({ threads: 1, isolated: false, bytes: two.bytes });
        const inWorker = await isolated.evaluate(
          (code) =>
            new Promise((resolve, reject) => {
              const worker = new Worker('/page.js', { type: 'module' });
              worker.addEventListener('error', ({ message }) => reject(new Error(message)));
              worker.addEventListener('message', ({ data }) => resolve(data));
              worker.postMessage(code);
            }),
          encode,
        );
        expect(inWorker).toEqual(two);
      },
      LIMIT_MS,
    );
  });

  describe('what a page cannot do is said', () => {
    test(
      'no WebAssembly SIMD',
      async () => {
        const plain = await chromium.launch({ executablePath: executable!, args: WITHOUT_SIMD });
        onTestFinished(() => plain.close());
        const page = await open('', origin, plain);
        expect(await failure(page)).toMatch(/^EdgeError platform: .*no WebAssembly SIMD.*or newer$/);
      },
      LIMIT_MS,
    );

    test('a policy that forbids WebAssembly', async () => {
      const page = await open(`csp=${encodeURIComponent("script-src 'self' 'unsafe-eval'")}`);
      expect(await failure(page)).toBe('none');
      const strict = await browser.newPage();
      onTestFinished(() => strict.close());
      await strict.goto(`${origin}/?csp=${encodeURIComponent("script-src 'self'")}`);
      // evaluate() is no part of the page, so its policy does not hold for what is in it, but for WebAssembly
      await strict.waitForFunction(() => 'raccoon' in globalThis);
      expect(await failure(strict)).toMatch(/^EdgeError platform: .*'wasm-unsafe-eval'/);
    });

    test("ONNX Runtime's files are not there", async () => {
      const said = await failure(await open(), { runtimeFiles: '/elsewhere' });
      expect(said).toMatch(
        /^EdgeError platform: ONNX Runtime cannot start from http.*\/elsewhere\/: .*runtimeFiles/,
      );
    });

    test('no WebGPU', async () => {
      const page = await open();
      expect(await failure(page, { backend: 'webgpu' })).toMatch(/^EdgeError platform: .*no WebGPU/);
      const encoders = await page.evaluate(async () => {
        const client = await raccoon.client.connect({ cloud: location.origin, backend: 'auto' });
        return [...client.edge.runtime.encoders.values()];
      });
      expect(encoders).toEqual([{ backend: 'wasm' }]);
    });

    test('another bundle than the cloud has, and settings that make no sense', async () => {
      const page = await open();
      expect(await failure(page, { bundle: 'other' })).toMatch(/^TransportError not-found: .*not other/);
      expect(await failure(page, { topK: 0 })).toMatch(/^RangeError/);
      expect(await failure(page, { cloud: 'here' })).toMatch(/^TransportError bad-request: an endpoint is/);
    });
  });

  describe('a cloud of another origin', () => {
    test(
      'may be asked where it says so; it disappears and returns',
      async () => {
        const first = await start({ httpOrigins: [origin] });
        onTestFinished(() => first.close());
        const { httpAddress } = first;
        const page = await open();
        const classify = (): Promise<{ source: string; degraded: boolean; first: number }> =>
          page.evaluate(async () => {
            const bytes = new Uint8Array(await (await fetch('/samples/goldfish.jpg')).arrayBuffer());
            const { source, degraded, top } = await client.classify(bytes);
            return { source, degraded, first: top[0]!.index };
          });
        await page.evaluate(async (cloudAt) => {
          globalThis.events = [];
          globalThis.client = await raccoon.client.connect({
            cloud: cloudAt,
            deadlineMs: 20_000, // for a busy machine; without a link nobody waits for it
            reconnect: { patienceMs: 50, firstDelayMs: 20, maxDelayMs: 100 },
          });
          for (const name of ['connected', 'disconnected'] as const)
            client.events.on(name, () => events.push(name));
        }, `http://${httpAddress}`);
        expect(await classify()).toEqual({ source: 'cloud', degraded: false, first: 1 });
        await first.close();
        expect(await classify()).toMatchObject({ source: 'edge', degraded: true });
        const second = await start({ httpOrigins: [origin], httpListen: httpAddress! });
        onTestFinished(() => second.close());
        await page.waitForFunction(() => events.at(-1) === 'connected');
        expect(await classify()).toEqual({ source: 'cloud', degraded: false, first: 1 });
      },
      LIMIT_MS,
    );

    test('may not be asked where it does not, or the page forbids it', async () => {
      const elsewhere = await servePage(scripts);
      onTestFinished(() => elsewhere.close());
      const stranger = await open('', elsewhere.origin);
      expect(await failure(stranger, { cloud: origin })).toMatch(
        /^TransportError unavailable: no Raccoon endpoint answers at .*--http-origin/,
      );
      const closed = await open(`csp=${encodeURIComponent("connect-src 'none'")}`);
      expect(await failure(closed)).toMatch(/^TransportError unavailable: no Raccoon endpoint answers/);
    });
  });

  describe('the cache', () => {
    test(
      'what is there is not fetched again; what was damaged is',
      async () => {
        const page = await open();
        const first = await connected(page);
        expect(first).toBeGreaterThan(500_000);
        expect(await connected(page)).toBe(0);
        expect(await damage(page)).toBeGreaterThan(1);
        expect(await connected(page)).toBe(first);
        expect(await connected(page)).toBe(0);
        expect(await connected(page, { cache: false })).toBe(first);
        const old = await page.evaluate(async () => {
          const cache = await caches.open('raccoon');
          await cache.put('https://raccoon.invalid/sha256/0', new Response('of a version that is gone'));
          const client = await raccoon.client.connect({ cloud: location.origin });
          await client.close();
          return cache.match('https://raccoon.invalid/sha256/0');
        });
        expect(old).toBeUndefined();
        expect(await connected(page)).toBe(0);
      },
      LIMIT_MS,
    );

    test(
      'without a network the local exit answers; a damaged file is not believed',
      async () => {
        const page = await open();
        await connected(page);
        const offline = (): Promise<string> =>
          page.evaluate(async () => {
            const options = {
              cloud: location.origin,
              fetch: () => Promise.reject(new TypeError('Failed to fetch')),
              deadlineMs: 10_000,
              reconnect: { patienceMs: 1 },
            };
            try {
              const client = await raccoon.client.connect(options);
              const { source, degraded } = await client.classify({
                data: new Uint8Array(150_528),
                width: 224,
                height: 224,
              });
              await client.close();
              return `${source} ${degraded}`;
            } catch (error) {
              return `${(error as { code: string }).code}: ${(error as Error).message}`;
            }
          });
        expect(await offline()).toBe('edge true');
        await damage(page);
        expect(await offline()).toMatch(/^unreachable: .*no Raccoon endpoint answers/);
        await page.evaluate(() => caches.delete('raccoon'));
        expect(await offline()).toMatch(/^unavailable: no Raccoon endpoint answers/);
      },
      LIMIT_MS,
    );
  });
});
