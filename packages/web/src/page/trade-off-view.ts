import { find, make } from './dom.ts';
import { count } from './format.ts';
import type { Model, Point } from './protocol.ts';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 364;
const HEIGHT = 220;
const LEFT = 28;
const BOTTOM = 24;
/** Between the names of lines that end at one place. */
const NAME = 14;

/** Accuracy over bytes, a line for each encoder, and where the settings are on it. */
export class TradeOffView {
  readonly #figure = find('trade-off', HTMLElement);
  #here: SVGElement | undefined;
  #place: (point: Point) => { x: number; y: number } | undefined = () => undefined;
  #points: readonly Point[] = [];

  open(model: Model): void {
    const points = model.points.filter(({ top1 }) => top1 !== undefined);
    this.#points = points;
    if (points.length === 0) return;
    const sizes = points.map(({ bytes }) => Math.log(bytes));
    const accuracies = points.map(({ top1 }) => top1!);
    const across = scale(Math.min(...sizes), Math.max(...sizes), LEFT + 8, WIDTH - 34);
    const [lowest, highest] = [10 * Math.floor(Math.min(...accuracies) / 10), Math.max(...accuracies)];
    const up = scale(lowest, highest, HEIGHT - BOTTOM, 10);
    this.#place = ({ bytes, top1 }) =>
      top1 === undefined ? undefined : { x: across(Math.log(bytes)), y: up(top1) };

    const svg = draw('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img' });
    svg.ariaLabel = `Accuracy of ${model.name} over bytes: from ${lowest} to ${highest.toFixed(0)} percent`;
    for (let percent = lowest; percent <= highest; percent += 10) {
      const y = up(percent);
      svg.append(draw('line', { x1: LEFT, x2: WIDTH, y1: y, y2: y, class: 'grid' }));
      svg.append(draw('text', { x: LEFT - 8, y: y + 4, 'text-anchor': 'end' }, String(percent)));
    }
    for (const bytes of [500, 1000, 2000, 4000, 8000]) {
      const x = across(Math.log(bytes));
      if (x < LEFT || x > WIDTH) continue;
      svg.append(draw('text', { x, y: HEIGHT - 4, 'text-anchor': 'middle' }, count(bytes)));
    }
    const ends: { n: number; x: number; y: number }[] = [];
    for (const n of new Set(points.map((point) => point.n))) {
      const line = points.filter((point) => point.n === n).map((point) => this.#place(point)!);
      svg.append(draw('path', { d: `M ${line.map(({ x, y }) => `${x} ${y}`).join(' L ')}`, class: 'line' }));
      for (const { x, y } of line) svg.append(draw('circle', { cx: x, cy: y, r: 2, class: 'dot' }));
      ends.push({ n, ...line.at(-1)! });
    }
    let free = -Infinity; // below the name above
    for (const { n, x, y } of ends.toSorted((a, b) => a.y - b.y)) {
      free = Math.max(free, y) + NAME;
      svg.append(draw('text', { x: x + 7, y: free - NAME + 4 }, `n=${n}`));
    }
    this.#here = draw('circle', { r: 5, class: 'here' });
    svg.append(this.#here);
    this.#figure.replaceChildren(
      svg,
      make(
        'figcaption',
        { className: 'hint' },
        `Top-1 in percent over mean bytes, measured${model.measuredOn ? ` on ${model.measuredOn}` : ''} with ${count(model.classes)} classes. The dot is what was just used.`,
      ),
    );
  }

  show(n: number, q: number): void {
    const point = this.#points.find((one) => one.n === n && one.q === q);
    const place = point && this.#place(point);
    if (!place || !this.#here) return;
    this.#here.setAttribute('cx', String(place.x));
    this.#here.setAttribute('cy', String(place.y));
  }
}

function scale(from: number, to: number, start: number, end: number): (value: number) => number {
  return (value) => start + ((value - from) / (to - from || 1)) * (end - start);
}

function draw(tag: string, attributes: Record<string, string | number>, text = ''): SVGElement {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.textContent = text;
  return element;
}
