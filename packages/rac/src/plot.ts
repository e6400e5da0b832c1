import type { TopLevelSpec } from 'vega-lite';

/** A point of a line; times, rates and accuracies come with an interval, which is drawn as a band, or as a bar. */
export interface PlotPoint {
  x: number;
  y: number;
  low?: number;
  high?: number;
  /** What a pointer over it shows; default: the series' name and both numbers. */
  label?: string;
}

export interface PlotSeries {
  name: string;
  points: readonly PlotPoint[];
  /** Default: a line through its points. A level is one point, drawn from side to side. */
  as?: 'line' | 'steps' | 'points' | 'level';
  /** Which of the colours and of the shapes and dashes; default: its place among the series. */
  colour?: number;
  shape?: number;
}

export interface Axis {
  /** With its unit. */
  title: string;
  /** Default: linear, from zero only where `zero` says so. */
  scale?: 'linear' | 'log';
  zero?: boolean;
}

/** A figure: lines with bands, as in a paper. */
export interface Plot {
  title?: string;
  x: Axis;
  y: Axis;
  series: readonly PlotSeries[];
  /** px, of the frame; default 440 x 300. On a page, the width is the whole figure's. */
  width?: number;
  height?: number;
  /** Without a ground of its own, in the page's light or dark, and narrow: the legend is below. Default: a file on white. */
  onPage?: boolean;
}

/** A figure: bars of parts that add up. */
export interface Bars {
  title?: string;
  x: Axis;
  /** One value for each of `parts`. */
  bars: readonly { name: string; values: readonly number[] }[];
  parts: readonly string[];
  /** px, of the whole figure; default 400. */
  width?: number;
}

/** Okabe and Ito, 2008: colours that everybody can tell apart. Black is the text's colour, so that it shows on black. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', 'currentColor', '#7f7f7f'];
const SHAPES = [
  'circle',
  'square',
  'diamond',
  'triangle-up',
  'cross',
  'triangle-down',
  'triangle-right',
  'triangle-left',
];
const DASHES = [[1, 0], [6, 3], [2, 2], [9, 3, 2, 3]]; // prettier-ignore

/** A figure as SVG, by Vega-Lite; no browser is needed. The same for the same figure. */
export async function plotSvg(figure: Plot | Bars): Promise<string> {
  // only now: they take longer to load than all else that a command needs
  const [{ View, parse }, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const { spec } = compile('bars' in figure ? vegaLiteBars(figure) : vegaLite(figure));
  const svg = await new View(parse(spec), { renderer: 'none' }).toSVG();
  return (
    svg
      // what a pointer shows, without a script
      .replaceAll(/<path( aria-label="([^"]*)"[^>]*)\/>/g, '<path$1><title>$2</title></path>')
      // a figure is one image with one description, which is its user's to give; not hundreds of objects
      .replaceAll(/ (role|aria-[a-z]+)="[^"]*"/g, '')
  );
}

/** A page that needs nothing else: figures, and tables or remarks below each of them. */
export function plotPage(title: string, sections: readonly { svg?: string; text?: string }[]): string {
  const body = sections.map(
    ({ svg = '', text = '' }) =>
      `<figure>${svg}</figure>\n${text === '' ? '' : `<pre>${escapeHtml(text)}</pre>\n`}`,
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${escapeHtml(title)}</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }
  figure { margin: 1.5rem 0; }
  figure:empty { display: none; }
  svg { max-width: 100%; height: auto; }
  pre { font: 13px/1.4 ui-monospace, monospace; overflow-x: auto; }
</style>
<h1>${escapeHtml(title)}</h1>
${body.join('')}</html>
`;
}

export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

/** 1, 2 and 5 of every decade: Vega would write all nine, one over the other. */
function logTicks(values: readonly number[]): number[] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const ticks: number[] = [];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade++) {
    for (const digit of [1, 2, 5]) ticks.push(Number(`${digit}e${decade}`));
  }
  return ticks;
}

/** How a field of the data lies on an axis. */
function onAxis(field: string, { title, scale = 'linear', zero = false }: Axis, values: readonly number[]) {
  const log = scale === 'log' && values.length > 0; // without any, Vega has no logarithmic axis
  return {
    field,
    type: 'quantitative' as const,
    title,
    scale: log ? { type: scale, nice: false, padding: 8 } : { type: 'linear' as const, zero, nice: true },
    axis: { aria: false, ...(log && { values: logTicks(values), format: '~r' }) },
  };
}

function vegaLite({ title, x, y, series, width = 440, height = 300, onPage = false }: Plot): TopLevelSpec {
  const names = series.map(({ name }) => name);
  const values = series.flatMap(({ name, points, as = 'line' }) =>
    points.map(({ label, ...point }) => ({
      series: name,
      as,
      label: label ?? `${name}: ${Number(point.x.toPrecision(4))}, ${Number(point.y.toPrecision(4))}`,
      ...point,
    })),
  );
  const styled = <T>(channel: 'colour' | 'shape', of: readonly T[]): object => ({
    field: 'series',
    type: 'nominal',
    title: null,
    scale: { domain: names, range: series.map((one, i) => of[(one[channel] ?? i) % of.length]!) },
  });
  const dash = styled('shape', DASHES);
  const xs = series.flatMap(({ points, as }) => (as === 'level' ? [] : points.map((point) => point.x)));
  const ys = values.map((point) => point.y);
  const at = { x: onAxis('x', x, xs), color: styled('colour', COLOURS) };
  const withInterval = { filter: 'isValid(datum.low) && isValid(datum.high)' };
  const spread = { y: onAxis('low', y, ys), y2: { field: 'high' } };
  return {
    ...frame({ title, width, onPage, names }),
    height,
    data: { values },
    layer: [
      {
        transform: [where('line'), withInterval],
        mark: { type: 'area', opacity: series.length > 4 ? 0.1 : 0.15, aria: false },
        encoding: { ...at, ...spread },
      },
      {
        transform: [where('level')],
        mark: { type: 'rule', strokeWidth: 1.5, aria: false },
        encoding: { y: onAxis('y', y, ys), color: at.color, strokeDash: dash },
      },
      {
        transform: [where('line')],
        mark: { type: 'line', strokeWidth: 1.8, aria: false },
        encoding: { ...at, y: onAxis('y', y, ys), strokeDash: dash },
      },
      {
        transform: [where('steps')],
        mark: { type: 'line', strokeWidth: 1.8, interpolate: 'step-after', aria: false },
        encoding: { ...at, y: onAxis('y', y, ys), strokeDash: dash },
      },
      {
        transform: [where('points'), withInterval],
        mark: { type: 'rule', strokeWidth: 1.5, aria: false },
        encoding: { ...at, ...spread },
      },
      {
        transform: [where('line', 'points')],
        mark: { type: 'point', filled: true, size: 42, opacity: 1 },
        encoding: {
          ...at,
          y: onAxis('y', y, ys),
          shape: styled('shape', SHAPES),
          description: { field: 'label', type: 'nominal' },
        },
      },
    ],
  } as TopLevelSpec;
}

const where = (...kinds: NonNullable<PlotSeries['as']>[]): object => ({
  filter: { field: 'as', oneOf: kinds },
});

function vegaLiteBars({ title, x, bars, parts, width = 400 }: Bars): TopLevelSpec {
  const values = bars.flatMap(({ name, values: all }) =>
    parts.map((part, i) => ({
      name,
      part,
      i,
      value: all[i]!,
      label: `${name}: ${part} ${Number(all[i]!.toPrecision(3))}`,
    })),
  );
  return {
    ...frame({ title, width, onPage: true, names: [] }),
    height: 26 * bars.length,
    data: { values },
    mark: { type: 'bar' },
    encoding: {
      y: {
        field: 'name',
        type: 'nominal',
        title: null,
        sort: bars.map(({ name }) => name),
        axis: { aria: false, labelLimit: 190 },
      },
      x: { ...onAxis('value', { zero: true, ...x }, []), stack: 'zero' },
      color: {
        field: 'part',
        type: 'nominal',
        title: null,
        scale: { domain: parts, range: parts.map((_, i) => COLOURS[i % COLOURS.length]!) },
      },
      order: { field: 'i', type: 'quantitative' },
      description: { field: 'label', type: 'nominal' },
    },
  } as TopLevelSpec;
}

/** Characters of a name, of which two stand side by side below a figure. */
const IN_TWO_COLUMNS = 19;

/** What all figures have in common: text in the page's colour on the page's ground, so light and dark are the page's matter. */
function frame({
  title,
  width,
  onPage,
  names,
}: Required<Pick<Plot, 'width' | 'onPage'>> & { title: string | undefined; names: readonly string[] }) {
  const columns = names.length > 0 && names.every((name) => name.length <= IN_TWO_COLUMNS) ? 2 : 1;
  const text = { labelColor: 'currentColor', titleColor: 'currentColor' };
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    ...(title !== undefined && { title }),
    width,
    ...(onPage && { autosize: { type: 'fit-x' as const, contains: 'padding' as const } }),
    background: onPage ? 'transparent' : 'white',
    config: {
      font: 'Helvetica, Arial, sans-serif',
      axis: {
        ...text,
        labelFontSize: 12,
        titleFontSize: 13,
        titleFontWeight: 'normal',
        gridColor: '#888',
        gridOpacity: 0.25,
        tickColor: '#888',
        domainColor: '#888',
      },
      legend: {
        ...text,
        aria: false,
        labelFontSize: 12,
        labelLimit: 384, // 40 characters: without a canvas Vega takes one for 0.8 of its size
        symbolSize: 70,
        symbolOpacity: 1,
        symbolStrokeWidth: 0, // or the dashes of the lines lie around the shapes
        ...(onPage && { orient: 'bottom', columns, columnPadding: 16, direction: 'vertical' }),
      },
      title: {
        color: 'currentColor',
        fontSize: 14,
        fontWeight: 'normal',
        anchor: 'start',
        frame: 'group',
        offset: 12,
      },
      view: { stroke: '#888' },
    },
  };
}
