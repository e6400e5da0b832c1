import type { Report, Section, Table } from './document.ts';

/** The report as Markdown, with its figures as PNG files beside it. */
export function markdown({ title, sections }: Report): string {
  return `# ${plain(title)}\n\n${sections.map(sectionText).join('\n')}`;
}

function sectionText({ title, text = [], list = [], code = [], figures = [], tables = [] }: Section): string {
  const blocks = [
    `## ${title}`,
    ...text.map(plain),
    ...(list.length > 0 ? [list.map((item) => `- ${plain(item)}`).join('\n')] : []),
    ...(code.length > 0 ? [`\`\`\`sh\n${code.join('\n')}\n\`\`\``] : []),
    ...figures.flatMap(({ name, caption, alt }) => [
      `![${plain(alt).replaceAll(/[[\]]/g, '')}](${name}.png)`,
      plain(caption),
    ]),
    ...tables.flatMap((table) => [plain(table.caption), tableText(table)]),
  ];
  return `${blocks.join('\n\n')}\n`;
}

/** Columns as wide as their widest cell, as Prettier would write it. */
function tableText({ head, rows, words = 1 }: Table): string {
  const lines = [head, ...rows].map((cells) => cells.map((cell) => plain(cell).replaceAll('|', '\\|')));
  const widths = head.map((_, i) => Math.max(3, ...lines.map((cells) => cells[i]!.length)));
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, i) => (i < words ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = widths.map((width, i) => (i < words ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [line(lines[0]!), `| ${rule.join(' | ')} |`, ...lines.slice(1).map(line)].join('\n');
}

/** No HTML: names come from files. */
function plain(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
