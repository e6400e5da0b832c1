import { createHash } from 'node:crypto';
import { escapeHtml as text } from '../plot.ts';
import type { Figure, Report, Section, Table } from './document.ts';

/**
 * Light or dark as the reader's system is, and light on paper. Figures are drawn for the width of a phone and stand side by
 * side where there is room; wide tables scroll in their own box.
 */
const STYLE = `
:root { color-scheme: light dark; --ink: #1c1e21; --faint: #5b6168; --ground: #fff; --line: #d5d8dc; --raised: #f4f5f7; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e7e9; --faint: #a3a9b1; --ground: #15171a; --line: #3a3f45; --raised: #1f2226; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--ground); }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 3rem 0 0.75rem; padding-top: 0.75rem; border-top: 1px solid var(--line); }
p, ul { max-width: 46rem; margin: 0.75rem 0; }
ul { padding-left: 1.2rem; }
li { margin: 0.35rem 0; }
a { color: inherit; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.1rem; padding: 0; list-style: none; }
nav li { margin: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1.5rem; }
figure { margin: 0.75rem 0; max-width: 38rem; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; }
figcaption, caption { color: var(--faint); font-size: 0.875rem; text-align: left; line-height: 1.45; }
figcaption { margin-top: 0.5rem; }
.scroll { overflow-x: auto; margin: 1.25rem 0; }
.scroll:focus-visible { outline: 2px solid currentColor; outline-offset: 3px; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
caption { max-width: min(46rem, 100vw - 2rem); padding-bottom: 0.5rem; }
th, td { padding: 0.3rem 0.7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
thead th { background: var(--raised); vertical-align: bottom; }
tbody th { font-weight: normal; position: sticky; left: 0; background: var(--ground); }
.word { text-align: left; }
pre { overflow-x: auto; padding: 0.75rem 1rem; background: var(--raised); font: 0.85rem/1.5 ui-monospace, monospace; }
.published { border: 2px dashed var(--faint); border-radius: 0.5rem; padding: 0 0.5rem 1rem; margin: 3rem -0.5rem 0; }
.published h2 { border: 0; margin-top: 0.5rem; }
@media print {
  :root { color-scheme: light; --ink: #000; --faint: #444; --ground: #fff; --line: #bbb; --raised: #f2f2f2; }
  @page { margin: 14mm; }
  body { font-size: 10pt; max-width: none; padding: 0; }
  nav { display: none; }
  h2, caption { break-after: avoid; }
  thead { display: table-header-group; }
  tr, figure { break-inside: avoid; }
  .figures { grid-template-columns: 1fr 1fr; }
  .scroll { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding: 1pt 3pt; white-space: normal; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 7pt; }
}
`;

/**
 * One file that fetches nothing and runs nothing, under a policy that says so.
 * @param svgs the figures, by name
 */
export function page({ title, sections }: Report, svgs: ReadonlyMap<string, string>): string {
  const hash = createHash('sha256').update(STYLE).digest('base64');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-${hash}'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${text(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>${text(title)}</h1>
<nav aria-label="Sections"><ul>${sections.map((of) => `<li><a href="#${of.id}">${text(of.title)}</a></li>`).join('')}</ul></nav>
</header>
<main>
${sections.map((of) => sectionHtml(of, svgs)).join('\n')}
</main>
</body>
</html>
`;
}

function sectionHtml(
  { id, title, text: paragraphs, list, code, figures, tables }: Section,
  svgs: ReadonlyMap<string, string>,
): string {
  return [
    `<section id="${id}" class="${id}" aria-labelledby="${id}-title">`,
    `<h2 id="${id}-title">${text(title)}</h2>`,
    ...(paragraphs ?? []).map((paragraph) => `<p>${text(paragraph)}</p>`),
    ...(list?.length ? [`<ul>${list.map((item) => `<li>${text(item)}</li>`).join('\n')}</ul>`] : []),
    ...(code?.length
      ? [`<pre tabindex="0" aria-label="Commands"><code>${text(code.join('\n'))}</code></pre>`]
      : []),
    ...(figures?.length
      ? [`<div class="figures">${figures.map((of) => figureHtml(of, svgs.get(of.name)!)).join('\n')}</div>`]
      : []),
    ...(tables ?? []).map((table, i) => tableHtml(table, `${id}-table-${i + 1}`)),
    '</section>',
  ].join('\n');
}

function figureHtml({ caption, alt }: Figure, svg: string): string {
  // without its own size, an image scales to the room that it has
  const scaled = svg.replace(
    /(<svg [^>]*?) width="[^"]*" height="[^"]*"/,
    `$1 role="img" aria-label="${text(alt)}"`,
  );
  return `<figure>${scaled}<figcaption>${text(caption)}</figcaption></figure>`;
}

function tableHtml({ caption, head, rows, words = 1 }: Table, id: string): string {
  const side = (i: number): string => (i < words ? ' class="word"' : '');
  const cells = (row: string[]): string =>
    row
      .map((cell, i) =>
        i === 0 ? `<th scope="row"${side(i)}>${text(cell)}</th>` : `<td${side(i)}>${text(cell)}</td>`,
      )
      .join('');
  return `<div class="scroll" role="region" tabindex="0" aria-labelledby="${id}"><table>
<caption id="${id}">${text(caption)}</caption>
<thead><tr>${head.map((name, i) => (name === '' ? '<td></td>' : `<th scope="col"${side(i)}>${text(name)}</th>`)).join('')}</tr></thead>
<tbody>${rows.map((row) => `<tr>${cells(row)}</tr>`).join('\n')}</tbody>
</table></div>`;
}
