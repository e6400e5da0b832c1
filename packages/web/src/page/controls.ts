import { find } from './dom.ts';
import { count, speed } from './format.ts';
import type { Encoded, Model, Settings } from './protocol.ts';

/** What the sliders of the link stand for. */
const SPEEDS = [500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 200_000, Infinity];
const ROUND_TRIPS = [0, 10, 20, 50, 100, 200, 400, 800];

/** Sliders and switches. They mean something once there is a model. */
export class Controls {
  readonly #form = find('controls', HTMLFormElement);
  readonly #n = find('n', HTMLInputElement);
  readonly #q = find('q', HTMLInputElement);
  readonly #rate = find('rate', HTMLInputElement);
  readonly #rtt = find('rtt', HTMLInputElement);
  readonly #cut = find('cut', HTMLInputElement);
  readonly #deadline = find('deadline', HTMLSelectElement);
  #model: Model | undefined;
  /** Depths of the encoder, by the slider's position. */
  #depths: readonly number[] = [];

  /** @param changed at every move, once there is a model */
  constructor(changed: (settings: Settings) => void) {
    this.#rate.max = String(SPEEDS.length - 1);
    this.#rate.value = this.#rate.max;
    this.#rtt.max = String(ROUND_TRIPS.length - 1);
    this.#rtt.value = '0';
    this.#describe();
    this.#form.addEventListener('submit', (event) => event.preventDefault());
    this.#form.addEventListener('input', () => {
      this.#describe();
      changed(this.settings);
    });
  }

  get settings(): Settings {
    const chosen = new FormData(this.#form).get('policy');
    return {
      policy: chosen === 'auto' ? 'auto' : 'fixed',
      ...(this.#model && { n: this.#depths[this.#n.valueAsNumber]!, q: this.#q.valueAsNumber }),
      deadlineMs: Number(this.#deadline.value),
      link: {
        bytesPerSecond: SPEEDS[this.#rate.valueAsNumber]!,
        rttMs: ROUND_TRIPS[this.#rtt.valueAsNumber]!,
        cut: this.#cut.checked,
      },
    };
  }

  open(model: Model): void {
    this.#model = model;
    const rates = Math.max(...model.points.map(({ q }) => q));
    this.#depths = [...new Set(model.points.map(({ n }) => n))].toSorted((a, b) => a - b);
    this.#n.max = String(this.#depths.length - 1);
    this.#q.max = String(rates);
    this.#move(model.defaultPoint);
    this.#describe();
  }

  /** The controller's choice, on the sliders that it has taken over. */
  chosen({ n, q }: Encoded): void {
    if (this.settings.policy === 'auto') this.#move({ n, q });
    this.#describe();
  }

  #move({ n, q }: Model['defaultPoint']): void {
    this.#n.valueAsNumber = this.#depths.indexOf(n);
    this.#q.valueAsNumber = q;
  }

  #describe(): void {
    const { policy, n, q, link } = this.settings;
    const mine = policy === 'fixed' && this.#model !== undefined;
    this.#n.disabled = !mine;
    this.#q.disabled = !mine;
    if (this.#model && n !== undefined && q !== undefined) {
      const point = this.#model.points.find((one) => one.n === n && one.q === q);
      say(this.#n, 'n-value', `${n} of ${this.#depths.at(-1)!}`);
      say(this.#q, 'q-value', `${q}${point ? `, some ${count(point.bytes)} bytes` : ''}`);
    }
    say(this.#rate, 'rate-value', speed(link.bytesPerSecond));
    say(this.#rtt, 'rtt-value', `${link.rttMs} ms`);
  }
}

/** Beside the slider, and to who cannot see it. */
function say(slider: HTMLInputElement, output: string, text: string): void {
  find(output, HTMLOutputElement).value = text;
  slider.setAttribute('aria-valuetext', text);
}
