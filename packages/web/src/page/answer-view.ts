import { bar, find, make } from './dom.ts';
import { percent } from './format.ts';
import type { Answer, Encoded, Guess } from './protocol.ts';

/** What the cloud says, and what this device alone would say. */
export class AnswerView {
  readonly #label = find('label', HTMLElement);
  readonly #said = find('said', HTMLElement);
  readonly #top = find('top', HTMLOListElement);
  readonly #localSaid = find('local-said', HTMLElement);
  readonly #localTop = find('local-top', HTMLOListElement);
  readonly #spoken = find('spoken', HTMLElement);

  /** A photo has left, or will not. */
  waiting({ sends, local }: Encoded): void {
    this.#localSaid.textContent = local
      ? `${percent(local.top[0]!.probability)}, margin ${local.margin.toFixed(2)}, by the encoder's local exit`
      : 'nothing: this bundle has no local exit';
    list(this.#localTop, local?.top.slice(0, 3) ?? []);
    if (sends) this.#said.textContent = 'On its way …';
  }

  show({ source, top, margin }: Answer): void {
    const [first] = top;
    const from = source === 'cloud' ? 'from the cloud' : 'from this device alone';
    this.#label.textContent = first!.name;
    this.#label.title = first!.name;
    this.#label.className = `figure ${source}`;
    this.#said.textContent = `${percent(first!.probability)}, margin ${margin.toFixed(2)}, ${from}`;
    this.#top.classList.toggle('from-edge', source === 'edge');
    list(this.#top, top);
    const spoken = `${first!.name}, ${Math.round(100 * first!.probability)} percent, ${from}`;
    const sameLabel = this.#spoken.textContent.startsWith(`${first!.name},`);
    if (!sameLabel || !this.#spoken.textContent.endsWith(from)) this.#spoken.textContent = spoken;
  }

  failed(message: string): void {
    this.#label.textContent = 'no answer';
    this.#label.className = 'figure edge';
    this.#said.textContent = message;
    list(this.#top, []);
  }
}

function list(into: HTMLOListElement, guesses: readonly Guess[]): void {
  into.replaceChildren(
    ...guesses.map(({ name, probability }) =>
      make(
        'li',
        {},
        make('span', { className: 'name' }, name),
        make('span', { className: 'percent' }, percent(probability)),
        bar(probability),
      ),
    ),
  );
}
