import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { isCollection, isMap, isScalar, LineCounter, parseDocument, type Document, type Node } from 'yaml';
import { z } from 'zod';
import { axisSettings, completed, groupSettings, type AxisName, type Settings } from './settings.ts';

/** One model, and what of it is varied: every combination of the axes is a trial. */
export interface Group {
  settings: Settings;
  axes: [AxisName, (string | number | boolean)[]][];
  /** Line in the spec, for messages. */
  line: number;
}

export interface Backbone {
  /** Weights of the network that is split; absent: a ResNet of `depth` from scratch. */
  weights?: string | undefined;
  depth?: number | undefined;
  /** JSON list of {wnid, name}, in the logits' order. */
  classes: string;
  licence: string;
}

export interface Spec {
  name: string;
  /** Absolute, as all paths here. */
  file: string;
  store: string;
  engine: 'local' | 'ray';
  /** Trainings at a time, with the local engine. */
  parallel: number;
  /** Of each trial. */
  threads: number;
  /** Of each trial, with Ray. */
  gpus: number;
  device?: string | undefined;
  data: {
    name: string;
    /** Photos to learn from: a folder as `raccoon train --data` takes it. */
    train: string;
    /** Only the first so many. */
    photos?: number | undefined;
    /** ImageFolder, or a folder with val-*.tar shards. */
    evaluate: string;
    /** A class-balanced sample of so many. */
    images?: number | undefined;
    seed: number;
    /** For the expected rates in a bundle's manifest. */
    ratePhotos: number;
  };
  backbones: Record<string, Backbone>;
  /** The series that the tables compare with. */
  anchor: string;
  groups: Group[];
}

const text = z.string().min(1);
const count = z.int().positive();
const axes = z
  .strictObject(
    Object.fromEntries(
      Object.entries(axisSettings).map(([name, value]) => [
        name,
        z.array<z.ZodType<string | number | boolean>>(value).min(1, 'a list of values'),
      ]),
    ),
  )
  .partial();

const specSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]*$/, 'lower-case letters, digits and dashes'),
  store: text.optional(),
  engine: z.enum(['local', 'ray']).default('local'),
  parallel: count.default(1),
  threads: count.default(2),
  gpus: z.number().min(0).default(0),
  device: text.optional(),
  data: z.strictObject({
    name: text,
    train: text,
    photos: count.optional(),
    evaluate: text,
    images: count.optional(),
    seed: z.int().min(0).default(1),
    ratePhotos: count.default(100),
  }),
  backbones: z
    .record(
      z.string().regex(/^[a-z0-9][a-z0-9-]*$/, 'lower-case letters, digits and dashes'),
      z.strictObject({
        weights: text.optional(),
        depth: z.union([z.literal(18), z.literal(34), z.literal(50)]).optional(),
        classes: text,
        licence: text.default('Apache-2.0'),
      }),
    )
    .refine((all) => Object.keys(all).length > 0, 'at least one network'),
  anchor: text.default('entropic-student'),
  base: z.strictObject(groupSettings).partial().default({}),
  groups: z.array(z.strictObject({ ...partial(groupSettings), axes: axes.optional() })).min(1),
});

function partial<T extends Record<string, z.ZodType>>(shape: T): { [K in keyof T]: z.ZodOptional<T[K]> } {
  return Object.fromEntries(Object.entries(shape).map(([name, value]) => [name, value.optional()])) as {
    [K in keyof T]: z.ZodOptional<T[K]>;
  };
}

/** @throws Error that names file and line of the first thing that is wrong, and what belongs there */
export function readSpec(file: string): Spec {
  let source: string;
  try {
    source = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new Error(`${file} cannot be read: a sweep's spec is a YAML file`, { cause });
  }
  return parseSpec(source, resolve(file));
}

/** @param file where it is: its paths begin there. @throws Error as `readSpec` */
export function parseSpec(source: string, file: string): Spec {
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines });
  const fail = (line: number, message: string): never => {
    throw new Error(`${file}:${line}: ${message}`);
  };
  const [syntax] = document.errors;
  if (syntax)
    fail(lines.linePos(syntax.pos[0]).line, syntax.message.split('\n')[0]!.replace(/ at line .*$/, ''));
  const parsed = specSchema.safeParse(document.toJS());
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
    const path = unknown === undefined ? issue.path : [...issue.path, unknown];
    const message = unknown === undefined ? issue.message : 'there is no such setting';
    return fail(lineOf(document, path, lines), `${path.join('.') || 'spec'}: ${message}`);
  }
  const { base, groups, store, backbones, data, ...rest } = parsed.data;
  const from = (path: string): string => resolve(dirname(file), path);
  const spec: Spec = {
    ...rest,
    file,
    store: from(store ?? `${rest.name}-sweep`),
    data: { ...data, train: from(data.train), evaluate: from(data.evaluate) },
    backbones: Object.fromEntries(
      Object.entries(backbones).map(([name, { weights, classes, ...network }]) => [
        name,
        { ...network, classes: from(classes), ...(weights !== undefined && { weights: from(weights) }) },
      ]),
    ),
    groups: groups.map(({ axes: varied = {}, ...settings }, i) => ({
      settings: { ...base, ...settings } as Settings,
      axes: Object.entries(varied) as Group['axes'],
      line: lineOf(document, ['groups', i], lines),
    })),
  };
  for (const [name, { weights, depth }] of Object.entries(spec.backbones)) {
    if ((weights === undefined) === (depth === undefined)) {
      fail(
        lineOf(document, ['backbones', name], lines),
        `backbones.${name}: either weights, or the depth of a ResNet from scratch`,
      );
    }
  }
  for (const group of spec.groups) {
    for (const settings of combinations(group)) {
      const whole = completed(settings);
      if (typeof whole === 'string') return fail(group.line, whole);
      if (!spec.backbones[whole.backbone!]) {
        fail(
          group.line,
          `no backbone ${whole.backbone}; there are ${Object.keys(spec.backbones).join(', ')}`,
        );
      }
      if (whole.images !== undefined && spec.data.photos === undefined) {
        fail(group.line, 'images is a share of data.photos: say there how many there are to learn from');
      }
      if (whole.warmStart && !group.axes.some(([name]) => name === 'lambda' || name === 'rateTarget')) {
        fail(group.line, 'warmStart needs an axis lambda or rateTarget to go along');
      }
    }
  }
  return spec;
}

/** Every combination of a group's axes, the last one turning fastest. */
export function combinations({ settings, axes: varied }: Group): Settings[] {
  let all: Settings[] = [settings];
  for (const [name, values] of varied) {
    all = all.flatMap((one) => values.map((value) => ({ ...one, [name]: value })));
  }
  return all;
}

/** The line of what a path leads to; of the nearest thing above it, where it is missing. */
function lineOf(document: Document, path: readonly PropertyKey[], lines: LineCounter): number {
  for (let length = path.length; length >= 0; length--) {
    const at = path.slice(0, length);
    const parent = length === 0 ? undefined : document.getIn(at.slice(0, -1), true);
    const key = isMap(parent)
      ? parent.items.find((pair) => isScalar(pair.key) && pair.key.value === at.at(-1))?.key
      : undefined;
    const node = (key ?? document.getIn(at, true)) as Node | undefined;
    if (node && (isScalar(node) || isCollection(node)) && node.range)
      return lines.linePos(node.range[0]).line;
  }
  return 1;
}

/** Hex digits of SHA-256 of a value whose keys may stand in any order. */
export function contentHash(value: unknown, digits: number): string {
  return createHash('sha256').update(canonical(value)).digest('hex').slice(0, digits);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).filter(([, of]) => of !== undefined);
  return `{${entries
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, of]) => `${JSON.stringify(name)}:${canonical(of)}`)
    .join(',')}}`;
}

/** A file's hash, for ids: another file of the same name is another trial. */
export function fileHash(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 16);
}
