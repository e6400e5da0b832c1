import type { TopLevelSpec } from 'vega-lite';

/** A point of a line; times, rates and accuracies come with an interval, which is drawn as a band. */
export interface PlotPoint {
  x: number;
  y: number;
  low?: number;
  high?: number;
}

export interface PlotSeries {
  name: string;
  points: readonly PlotPoint[];
  /** Default: a line through its points. */
  as?: 'line' | 'points';
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
  /** px, of the frame; default 440 x 300. */
  width?: number;
  height?: number;
}

/** Okabe and Ito, 2008: colours that everybody can tell apart. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000', '#7f7f7f'];

/** A plot as SVG, by Vega-Lite; no browser is needed. The same for the same plot. */
export async function plotSvg(plot: Plot): Promise<string> {
  // only now: they take longer to load than all else that a command needs
  const [{ View, parse }, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const { spec } = compile(vegaLite(plot));
  return new View(parse(spec), { renderer: 'none' }).toSVG();
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

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

/** How a field of the data lies on an axis. */
function onAxis(field: string, { title, scale = 'linear', zero = false }: Axis) {
  return {
    field,
    type: 'quantitative' as const,
    title,
    scale: scale === 'log' ? { type: scale, nice: false, padding: 8 } : { type: scale, zero, nice: true },
  };
}

function vegaLite({ title, x, y, series, width = 440, height = 300 }: Plot): TopLevelSpec {
  const names = series.map(({ name }) => name);
  const values = series.flatMap(({ name, points, as = 'line' }) =>
    points.map((point) => ({ series: name, as, ...point })),
  );
  const colour = {
    field: 'series',
    type: 'nominal' as const,
    title: null,
    scale: { domain: names, range: names.map((_, i) => COLOURS[i % COLOURS.length]!) },
  };
  const shape = { field: 'series', type: 'nominal' as const, title: null, scale: { domain: names } };
  const at = { x: onAxis('x', x), color: colour };
  const lines = { filter: 'datum.as === "line"' };
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    ...(title !== undefined && { title }),
    width,
    height,
    background: 'white',
    data: { values },
    layer: [
      {
        transform: [lines, { filter: 'isValid(datum.low) && isValid(datum.high)' }],
        mark: { type: 'area', opacity: 0.15 },
        encoding: { ...at, y: onAxis('low', y), y2: { field: 'high' } },
      },
      {
        transform: [lines],
        mark: { type: 'line', strokeWidth: 1.8 },
        encoding: { ...at, y: onAxis('y', y) },
      },
      {
        mark: { type: 'point', filled: true, size: 42, opacity: 1 },
        encoding: { ...at, shape, y: onAxis('y', y) },
      },
    ],
    config: {
      font: 'Helvetica, Arial, sans-serif',
      axis: {
        labelFontSize: 12,
        titleFontSize: 13,
        titleFontWeight: 'normal',
        gridColor: '#e4e4e4',
        tickColor: '#888',
      },
      legend: { labelFontSize: 12, labelLimit: 320, symbolSize: 70, symbolOpacity: 1 },
      title: { fontSize: 14, fontWeight: 'normal', anchor: 'start', offset: 12 },
      view: { stroke: '#888' },
    },
  };
}
