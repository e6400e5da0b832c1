import { expect, test } from 'vitest';
import { plotPage, plotSvg, type Bars, type Plot } from './plot.ts';

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

test('as a file on white; on a page in its colours, and as wide as asked for', async () => {
  expect(await plotSvg(plot)).toMatch(/^<svg [^>]*><rect [^>]*fill="white"/);
  const svg = await plotSvg({ ...plot, width: 400, onPage: true });
  expect(svg).toMatch(/^<svg [^>]* width="400" /);
  expect(svg).not.toMatch(/fill="(white|black|#000)"/);
  expect(svg).toContain('fill="currentColor"');
});

test('a pointer over a point shows its label; nothing is left that a screen reader would read a hundred times', async () => {
  const [first, ...others] = plot.series;
  const points = [
    { x: 1, y: 2, label: 'n=4 & "q=1"' },
    { x: 10, y: 4 },
  ];
  const svg = await plotSvg({ ...plot, series: [{ ...first!, points }, ...others] });
  expect(svg).toContain('<title>n=4 &amp; &quot;q=1&quot;</title>');
  expect(svg).toContain('<title>float32: 10, 4</title>');
  expect(svg).not.toMatch(/ (aria-|role=)/);
});

test('a level goes from side to side, and does not move the other axis', async () => {
  const level = { name: 'all', as: 'level', points: [{ x: 0, y: 5 }] } as const;
  const svg = await plotSvg({ ...plot, series: [...plot.series, level] });
  expect(svg).toMatch(/<line transform="translate\(440,[\d.]+\)" x2="-440" y2="0" stroke="#cc79a7"/);
  expect(svg).toContain('>10<');
});

test('bars of parts', async () => {
  const bars: Bars = {
    x: { title: 'ms' },
    parts: ['edge', 'cloud'],
    bars: [
      { name: 'a', values: [1, 2] },
      { name: 'b', values: [3, 0] },
    ],
  };
  const svg = await plotSvg(bars);
  for (const text of ['ms', 'edge', 'cloud', 'a', 'b']) expect(svg).toContain(`>${text}</text>`);
  expect(svg).toContain('<title>b: edge 3</title>');
});

test('a page holds figures and escaped text, and fetches nothing', async () => {
  const page = plotPage('A & B', [{ svg: await plotSvg(plot), text: 'n<1' }, { text: 'alone' }]);
  expect(page).toContain('<title>A &amp; B</title>');
  expect(page).toContain('n&lt;1');
  expect(page.match(/<svg /g)).toHaveLength(1);
  expect(page).not.toMatch(/<script|<link|src=/);
});
