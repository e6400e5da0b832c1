import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { writeReport } from '@raccoon/rac';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { writeResults } from '../helpers/results.ts';
import { executable, where } from './chromium.ts';

// The page that `raccoon report` writes, from its file: on a desk, on a phone, in light and dark, on paper.

const LIMIT_MS = 120_000; // for something that hangs; it all takes seconds
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface Fault {
  id: string;
  nodes: { html: string }[];
}

const desk = { viewport: { width: 1280, height: 900 } };
const phone = { viewport: { width: 360, height: 780 }, isMobile: true, hasTouch: true };

describe.skipIf(executable === undefined)(`a report in headless Chromium (${where})`, () => {
  let browser: Browser;
  let url: string;
  const folder = mkdtempSync(join(tmpdir(), 'raccoon-report-'));

  beforeAll(async () => {
    const [results, curves, out] = ['a.json', 'curves.json', 'out'].map((name) => join(folder, name));
    writeResults(results!);
    const theirs = { about: 'Theirs.', curves: { a: { bpp: [0.1, 1], top1: [60, 70] } } };
    writeFileSync(curves!, JSON.stringify(theirs));
    const { files } = await writeReport({
      results: [results!],
      out: out!,
      published: curves!,
      formats: ['html'],
    });
    url = pathToFileURL(files[0]!).href;
    browser = await chromium.launch({ executablePath: executable! });
  }, LIMIT_MS);

  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true });
  });

  /** The page, and what it says on the console and asks for besides itself. */
  async function open(options: BrowserContextOptions): Promise<{ page: Page; heard: string[] }> {
    const context = await browser.newContext(options);
    onTestFinished(() => context.close());
    const page = await context.newPage();
    const heard: string[] = [];
    page.on('console', (message) => heard.push(message.text()));
    page.on('pageerror', (error) => heard.push(error.message));
    page.on('request', (request) => {
      if (request.url() !== url && request.url() !== 'data:,') heard.push(request.url());
    });
    await page.goto(url);
    return { page, heard };
  }

  test.each([
    { name: 'desk, light', options: { ...desk, colorScheme: 'light' }, ground: 'rgb(255, 255, 255)' },
    { name: 'desk, dark', options: { ...desk, colorScheme: 'dark' }, ground: 'rgb(21, 23, 26)' },
    { name: 'phone, light', options: { ...phone, colorScheme: 'light' }, ground: 'rgb(255, 255, 255)' },
    { name: 'phone, dark', options: { ...phone, colorScheme: 'dark' }, ground: 'rgb(21, 23, 26)' },
  ] as const)(
    '$name: no error, no request, no fault that axe finds, nothing cut off',
    async ({ options, ground }) => {
      const { page, heard } = await open(options);
      expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe(ground);
      const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      expect(wide[0]).toBe(wide[1]);
      const figures = page.locator('figure svg[role=img]');
      expect(await figures.count()).toBe(9);
      for (const figure of await figures.all()) {
        const { width, height } = (await figure.boundingBox())!;
        expect(width).toBeGreaterThan(300);
        expect(height).toBeGreaterThan(200);
        expect(await figure.evaluate(textsOutside)).toEqual([]);
      }
      expect(heard).toEqual([]);
      await page.evaluate(axe);
      const faults = await page.evaluate(async () => {
        const { axe: run } = globalThis as unknown as { axe: { run(): Promise<{ violations: Fault[] }> } };
        return (await run.run()).violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
      });
      expect(faults).toEqual([]);
    },
    LIMIT_MS,
  );

  test(
    'on paper: light, without links, every column on the sheet',
    async () => {
      const { page } = await open({ viewport: { width: 690, height: 980 }, colorScheme: 'dark' }); // A4 less margins
      await page.emulateMedia({ media: 'print' });
      expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe(
        'rgb(255, 255, 255)',
      );
      expect(await page.locator('nav').isVisible()).toBe(false);
      const most = await page.evaluate(() =>
        Math.max(
          ...[...document.querySelectorAll('table')].map((table) => table.getBoundingClientRect().right),
        ),
      );
      expect(most).toBeLessThanOrEqual(690);
    },
    LIMIT_MS,
  );

  test(
    'by keyboard: wide tables take the focus and scroll, and a point says what it is',
    async () => {
      const { page } = await open({ ...phone, colorScheme: 'light' });
      const region = page.getByRole('region', { name: /^Every point, measured/ });
      await region.focus();
      await page.keyboard.press('ArrowRight');
      await expect.poll(() => region.evaluate((box) => box.scrollLeft)).toBeGreaterThan(0);
      const titles = await page.locator('#rate-accuracy figure svg path title').allTextContents();
      expect(titles).toContainEqual(
        expect.stringMatching(/^raccoon n=8 q=1: .* % \(.*\) at 0\.\d+ bpp, .* bytes, 5\.00 ms, 144 MMAC$/),
      );
    },
    LIMIT_MS,
  );
});

/** Texts of a figure that lie beyond its edges. Runs in the page. */
function textsOutside(svg: Element): string[] {
  const frame = svg.getBoundingClientRect();
  const slack = 1; // px, of rounding
  return [...svg.querySelectorAll('text')]
    .filter((text) => {
      const { left, right, top, bottom } = text.getBoundingClientRect();
      const inside = left >= frame.left - slack && right <= frame.right + slack;
      return !inside || top < frame.top - slack || bottom > frame.bottom + slack;
    })
    .map((text) => text.textContent ?? '');
}
