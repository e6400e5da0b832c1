import { expect, test } from 'vitest';
import { plotPage, plotSvg, type Plot } from './plot.ts';

const plot: Plot = {
  title: 'Time of an image',
  x: { title: 'encoder (GMAC)', scale: 'log' },
  y: { title: 'time (ms)', zero: true },
  series: [
    { name: 'float32', points: [{ x: 1, y: 2, low: 1, high: 3 }, { x: 10, y: 4, low: 3, high: 6 }] }, // prettier-ignore
    { name: 'int8 & <more>', points: [{ x: 1, y: 1 }, { x: 10, y: 2 }] }, // prettier-ignore
    { name: 'bound', points: [{ x: 5, y: 3 }], as: 'points' },
  ],
};

test('lines, bands, names and titles come out as SVG, the same every time', async () => {
  const svg = await plotSvg(plot);
  expect(svg).toMatch(/^<svg [^]*<\/svg>$/);
  for (const text of [
    'Time of an image',
    'encoder (GMAC)',
    'time (ms)',
    'float32',
    'int8 &amp; &lt;more&gt;',
    'bound',
  ]) {
    expect(svg).toContain(`>${text}<`);
  }
  expect(svg).toContain('mark-area');
  expect(svg).toContain('mark-line');
  expect(await plotSvg(plot)).toBe(svg);
});

test('a page holds figures and escaped text, and fetches nothing', async () => {
  const page = plotPage('A & B', [{ svg: await plotSvg(plot), text: 'n<1' }, { text: 'alone' }]);
  expect(page).toContain('<title>A &amp; B</title>');
  expect(page).toContain('n&lt;1');
  expect(page.match(/<svg /g)).toHaveLength(1);
  expect(page).not.toMatch(/<script|<link|src=/);
});
