import { find, make } from './dom.ts';
import { ms } from './format.ts';
import type { Answer, Times } from './protocol.ts';

const STAGES: readonly (readonly [keyof Times, what: string])[] = [
  ['image', 'decode the file, resize'],
  ['encoder', 'the network’s first layers'],
  ['codec', 'round, entropy-code'],
  ['link', 'there and back'],
  ['cloud', 'wait, decode, the other layers'],
];

/** ms per stage. */
export class TimesView {
  readonly #total = find('total', HTMLElement);
  readonly #stack = find('stack', HTMLElement);
  readonly #times = find('times', HTMLElement);

  show({ times, source }: Answer): void {
    const sum = STAGES.reduce((total, [stage]) => total + times[stage], 0);
    const where = source === 'cloud' ? 'from photo to answer' : 'on this device';
    this.#total.textContent = `${ms(sum)} ${where}`;
    this.#stack.replaceChildren(
      ...STAGES.filter(([stage]) => times[stage] > 0).map(([stage]) => {
        const part = mark(stage, '');
        part.style.width = `${(100 * times[stage]) / sum}%`;
        return part;
      }),
    );
    this.#times.replaceChildren(
      ...STAGES.map(([stage, what]) =>
        make(
          'div',
          {},
          make('dt', {}, mark(stage, 'swatch'), stage),
          make('dd', { className: 'what' }, what),
          make('dd', {}, times[stage] > 0 ? ms(times[stage]) : '–'),
        ),
      ),
    );
  }
}

function mark(stage: string, className: string): HTMLElement {
  const span = make('span', { className });
  span.dataset['stage'] = stage;
  return span;
}
