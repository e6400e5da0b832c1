import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { connect } from '@raccoon/client';
import { startCloud, type Cloud } from '@raccoon/cloud';
import { openPage } from '@raccoon/web';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { built, sample, shippedBundle } from '../helpers/paths.ts';
import { executable, where } from './chromium.ts';

// The page as it is built and served, by `raccoon web`'s parts in this process.

const LIMIT_MS = 120_000; // for something that hangs; it all takes seconds
const CAMERA = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

describe.skipIf(executable === undefined)(`the page in headless Chromium (${where})`, () => {
  let cloud: Cloud;
  let browser: Browser;

  beforeAll(async () => {
    built('packages/web/dist/site/index.html');
    cloud = await serve();
    browser = await chromium.launch({ executablePath: executable!, args: CAMERA });
  }, LIMIT_MS);

  afterAll(async () => {
    await browser?.close();
    await cloud?.close();
  });

  /** Everything that the page complained of. */
  let complaints: string[];
  let page: Page;

  async function open(options: BrowserContextOptions = {}): Promise<void> {
    // most tests do not wait for a service worker to keep 18 MB
    const context = await browser.newContext({ serviceWorkers: 'block', ...options });
    page = await context.newPage();
    complaints = [];
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
  }

  beforeEach(() => open());
  afterEach(() => page.context().close());

  /** Patiently: no test here is about time. */
  const goto = async (): Promise<void> => {
    await page.goto(`http://${cloud.httpAddress!}/`);
    await page.selectOption('#deadline', 'Infinity');
  };
  const text = (id: string): Promise<string> => page.locator(`#${id}`).innerText();
  /** Waits until an element says so. */
  const says = (id: string, what: string | RegExp): Promise<void> =>
    expect.poll(() => text(id), { timeout: 30_000 }).toMatch(what);
  const choose = (name: string): Promise<void> => page.setInputFiles('#file', sample(`${name}.jpg`));
  /** Bytes that left. */
  const sent = async (): Promise<number> => Number((await text('sent-size')).replace(/\D/g, ''));

  test('says of photos what Node says, shows what left, and what that is beside JPEG and WebP', async () => {
    const node = await connect({ cloud: cloud.address, bundle: shippedBundle });
    await goto();
    for (const name of ['goldfish', 'castle', 'hen', 'koala']) {
      const { top } = await node.classify(sample(`${name}.jpg`));
      await choose(name);
      await says('label', top[0]!.name);
      await says('said', /margin 0\.\d\d, from the cloud/);
    }
    await node.close();
    expect(await page.locator('#top li').count()).toBe(5);
    expect(await page.locator('#local-top li').count()).toBe(3);
    expect(await text('photo-size')).toBe(
      `${(await readFile(sample('koala.jpg'))).length.toLocaleString('en-US')} bytes`,
    );
    expect(await sent()).toBeGreaterThan(1000);
    expect(await text('latent-note')).toMatch(/^\d+ of 48 channels of 28.×.28/);
    expect(await inked(page, 'latent')).toBeGreaterThan(500);
    expect(await inked(page, 'bitstream')).toBeGreaterThan(1000);
    for (const stage of ['image', 'encoder', 'codec', 'link', 'cloud']) {
      expect(await text('times')).toMatch(new RegExp(`${stage}\\s.*\\s\\d[\\d.]* m?s`));
    }
    await says('sizes', /Raccoon, n=8 q=2/);
    await says('sizes', /JPEG, quality 75/);
    await says('sizes', /WebP, quality 75/);
    expect(complaints).toEqual([]);
  });

  test('a photo comes by drop and by paste, and a file that is none is said to be none', async () => {
    await goto();
    await give(page, 'drop', 'goldfish.jpg', await readFile(sample('goldfish.jpg')));
    await says('label', 'goldfish');
    await give(page, 'paste', 'espresso.jpg', await readFile(sample('espresso.jpg')));
    await says('label', 'espresso');
    await give(page, 'drop', 'notes.txt', Buffer.from('no photo'));
    await says('said', /not a photo/);
    await page.getByRole('button', { name: 'hen' }).click();
    await says('label', 'hen');
    expect(complaints).toEqual([]);
  });

  test('sliders choose encoder and rate, with the keyboard, too; then the controller does', async () => {
    await goto();
    await says('reason', /^n=8 q=2: as it was set/);
    const usual = await sent();
    await page.locator('#q').focus();
    await page.keyboard.press('Home');
    await says('reason', /^n=8 q=0: as it was set/);
    expect(await sent()).toBeLessThan(usual);
    await page.locator('#n').focus();
    await page.keyboard.press('ArrowLeft');
    await says('reason', /^n=4 q=0: as it was set/);
    expect(await page.locator('#n').getAttribute('aria-valuetext')).toBe('4 of 8');
    await page.getByLabel('The controller does').check();
    await says('reason', /% expected/);
    expect(await page.locator('#n').isDisabled()).toBe(true);
    expect(complaints).toEqual([]);
  });

  test('a slow link takes its time; over a cut one this device answers, until it is whole again', async () => {
    await goto();
    await says('said', /from the cloud/);
    await page.locator('#rtt').fill('6'); // 400 ms
    await expect.poll(() => stageMs(page, 'link'), { timeout: 30_000 }).toBeGreaterThan(390);
    await page.locator('#rate').fill('1'); // 1 kB/s
    await expect.poll(() => stageMs(page, 'link'), { timeout: 30_000 }).toBeGreaterThan(1500);
    await page.locator('#rate').fill('8');
    await page.locator('#rtt').fill('0');
    await page.getByLabel('Cut it').check();
    await says('said', /from this device alone/);
    await says('link-status', /No link/);
    await choose('goldfish');
    await says('photo-size', '18,117 bytes');
    await expect.poll(sent, { timeout: 30_000 }).toBe(0);
    await page.getByLabel('Cut it').uncheck();
    await says('said', /from the cloud/);
    await says('link-status', /Cloud at/);
    await says('label', 'goldfish');
  });

  test('the camera is answered frame by frame, and gives way to a photo', async () => {
    await goto();
    await says('said', /from the cloud/);
    await page.getByRole('button', { name: 'Camera' }).click();
    await says('photo-size', /\d+ × \d+ pixels/);
    const frames = (): Promise<number> =>
      page.evaluate(() => document.querySelector('video')!.getVideoPlaybackQuality().totalVideoFrames);
    await expect.poll(frames, { timeout: 30_000 }).toBeGreaterThan(5);
    await says('said', /from the cloud/);
    await choose('goldfish');
    await says('label', 'goldfish');
    expect(await page.locator('#video').isVisible()).toBe(false);
    expect(complaints).toEqual([]);
  });

  test('without a network it comes back as it was, answers by itself, and goes on when the cloud returns', async () => {
    await page.context().close();
    await open({ serviceWorkers: 'allow' });
    await goto();
    await says('said', /from the cloud/);
    await page.evaluate(async () => {
      await navigator.serviceWorker.ready;
    });
    await expect.poll(() => page.evaluate(() => navigator.serviceWorker.controller !== null)).toBe(true);
    // every encoder is kept by then
    await expect.poll(() => keptFiles(page), { timeout: 30_000 }).toBeGreaterThan(5);
    const address = cloud.httpAddress!;
    await cloud.close();
    try {
      await page.reload();
      await says('said', /from this device alone/);
      await says('link-status', /No link/);
      await page.getByRole('button', { name: 'goldfish' }).click();
      await says('reason', /the link is down; the local exit answers/);
      await page.locator('#n').fill('0');
      await says('sizes', /Raccoon, n=0/);
    } finally {
      cloud = await serve(address);
    }
    await says('said', /from the cloud/);
    await says('link-status', /Cloud at/);
    expect(await text('label')).toBe('goldfish');
  });

  test.each([
    { device: 'desktop', viewport: { width: 1280, height: 900 }, colorScheme: 'light' },
    { device: 'phone', viewport: { width: 390, height: 844 }, colorScheme: 'dark' },
  ] as const)('axe finds no fault: $device, $colorScheme', async ({ device, viewport, colorScheme }) => {
    await page.context().close();
    await open({ viewport, colorScheme, hasTouch: device === 'phone' });
    await goto();
    await says('sizes', /JPEG, quality 75/);
    await page.evaluate(await readFile(axe, 'utf8'));
    const violations = await page.evaluate(async () => {
      const { axe: run } = globalThis as unknown as { axe: { run(): Promise<{ violations: Fault[] }> } };
      return (await run.run()).violations.map(
        ({ id, impact, nodes }) => `${impact} ${id}: ${nodes[0]?.html}`,
      );
    });
    expect(violations).toEqual([]);
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    expect(sideways).toBe(false);
  });

  test('without cross-origin isolation it says so, and works on one thread', async () => {
    await page.route(`http://${cloud.httpAddress!}/`, async (route) => {
      const response = await route.fetch();
      const headers = response.headers();
      delete headers['cross-origin-embedder-policy'];
      delete headers['cross-origin-opener-policy'];
      await route.fulfill({ response, headers });
    });
    await goto();
    await says('said', /from the cloud/);
    await says('about', /on one thread, as this page is not cross-origin isolated/);
    expect(complaints).toEqual([]);
  });

  test('an endpoint that is blocked is named, and tried again when asked', async () => {
    const endpoint = '**/raccoon/v1/**';
    await page.route(endpoint, (route) => route.abort('blockedbyclient'));
    await goto();
    await says('notice', /There is no model to encode with: .*127\.0\.0\.1/);
    expect(await text('link-status')).toBe('Not started');
    await page.unroute(endpoint);
    await page.getByRole('button', { name: 'Try again' }).click();
    await says('said', /from the cloud/);
    expect(await page.locator('#notice').isVisible()).toBe(false);
  });

  test('where WebAssembly is forbidden it says what to do', async () => {
    await page.route('**/assets/worker-*.js', async (route) => {
      const response = await route.fetch();
      const headers = response.headers();
      headers['content-security-policy'] = "script-src 'self'";
      await route.fulfill({ response, headers });
    });
    await goto();
    await says('notice', /forbids WebAssembly: add 'wasm-unsafe-eval'/);
    expect(await text('link-status')).toBe('Not started');
  });
});

interface Fault {
  id: string;
  impact: string;
  nodes: { html: string }[];
}

async function serve(httpListen = '127.0.0.1:0'): Promise<Cloud> {
  return startCloud({
    bundle: shippedBundle,
    listen: '127.0.0.1:0',
    httpListen,
    httpFallback: await openPage(),
    workers: 1,
  });
}

/** A file that somebody drops or pastes. */
async function give(page: Page, kind: 'drop' | 'paste', name: string, bytes: Buffer): Promise<void> {
  await page.evaluate(
    ([how, file, base64]) => {
      const data = new DataTransfer();
      const contents = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      data.items.add(new File([contents], file));
      const event =
        how === 'drop'
          ? new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })
          : new ClipboardEvent('paste', { clipboardData: data, bubbles: true });
      document.body.dispatchEvent(event);
    },
    [kind, name, bytes.toString('base64')] as const,
  );
}

/** Dots of a canvas that are not empty. */
function inked(page: Page, id: string): Promise<number> {
  return page.evaluate((canvasId) => {
    const canvas = document.getElementById(canvasId) as HTMLCanvasElement;
    const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, i) => i % 4 === 3 && value > 0).length;
  }, id);
}

/** ms that the page shows for a stage; 0 for none. */
async function stageMs(page: Page, stage: string): Promise<number> {
  const row = page.locator('#times > div', { hasText: stage });
  const [, value, unit] = /([\d.]+) (m?s)/.exec(await row.locator('dd').last().innerText()) ?? [];
  return Number(value ?? 0) * (unit === 's' ? 1000 : 1);
}

/** Of the bundle, in the browser. */
function keptFiles(page: Page): Promise<number> {
  return page.evaluate(async () => (await (await caches.open('raccoon')).keys()).length);
}
