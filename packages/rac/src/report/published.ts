import { readCurves, type Curve } from '../curve.ts';

/** Numbers that somebody published. They are of other data, and never stand in one table or plot with ours. */
export interface PublishedCurves {
  /** What they are of, in the file's own words. */
  about: string;
  curves: readonly (Curve & { label: string })[];
}

/**
 * `{"about": ..., "curves": {<name>: {"label"?, "bpp": [...], "top1": [...]}}}`, or what `readCurves` reads besides.
 * @param origin for messages
 * @throws Error naming what is wrong
 */
export function readPublished(json: unknown, origin: string): PublishedCurves {
  const { about, curves: raw } = (json ?? {}) as {
    about?: unknown;
    curves?: Record<string, { label?: unknown }>;
  };
  const curves = readCurves(json, origin).map((curve) => {
    const name = curve.name.slice(origin.length + 1) || curve.name;
    const label = raw?.[name]?.label;
    return { ...curve, label: typeof label === 'string' ? label : name };
  });
  return { about: typeof about === 'string' ? about : `Curves of ${origin}.`, curves };
}
