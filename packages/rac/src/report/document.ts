import type { Bars, Plot } from '../plot.ts';

/** A report before it is a page or a text. */
export interface Report {
  title: string;
  sections: Section[];
}

export interface Section {
  /** For links: lower case and dashes. */
  id: string;
  title: string;
  /** Paragraphs. */
  text?: string[];
  list?: string[];
  /** Command lines. */
  code?: string[];
  figures?: Figure[];
  tables?: Table[];
}

export interface Figure {
  /** Of its file, without the ending. */
  name: string;
  plot: Plot | Bars;
  caption: string;
  /** What one sees, for those who do not. */
  alt: string;
}

/** Cells are text; a row is headed by its first one. */
export interface Table {
  caption: string;
  head: string[];
  rows: string[][];
  /** Columns of words, flush left, from the first on; the others are numbers. Default: 1. */
  words?: number;
}
