/** An element of index.html. @throws Error when it is not there, or is another one */
export function find<T extends HTMLElement>(id: string, type: new () => T): T {
  const element = document.getElementById(id);
  if (element instanceof type) return element;
  throw new Error(`index.html has no ${type.name} with the id ${id}`);
}

/** A new element with its text or children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: { readonly className?: string } & Partial<HTMLElementTagNameMap[K]>,
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A bar that is so much of its place, 0 to 1. The number stands beside it. */
export function bar(share: number): HTMLElement {
  const filled = document.createElement('span');
  filled.style.width = `${100 * share}%`;
  const place = make('div', { className: 'bar' }, filled);
  place.ariaHidden = 'true';
  return place;
}
