import type { Manifest } from '@raccoon/bundle';
import { z } from 'zod';
import { EdgeError } from '../errors.ts';

const envelope = z.strictObject({
  format: z.literal('raccoon-controller'),
  version: z.literal(1),
  policy: z.string(),
  bundle: z.strictObject({ name: z.string(), version: z.string() }),
  learned: z.unknown(),
});

/** What a policy has learned, as JSON that says of which policy and bundle it is. */
export function saveState(
  policy: string,
  { name, version }: Pick<Manifest, 'name' | 'version'>,
  learned: unknown,
): unknown {
  const state = { format: 'raccoon-controller', version: 1, policy, bundle: { name, version }, learned };
  return structuredClone(state); // a policy goes on learning; what was saved stays
}

/**
 * The same back.
 * @throws EdgeError `controller-state`: of another policy or bundle, or not what `saveState` gave
 */
export function restoreState<Schema extends z.ZodType>(
  state: unknown,
  policy: string,
  { name, version }: Pick<Manifest, 'name' | 'version'>,
  schema: Schema,
): z.infer<Schema> {
  const outer = envelope.safeParse(state);
  if (!outer.success) throw wrong(`it is not what \`save\` gives`);
  const of = `${outer.data.policy} on ${outer.data.bundle.name} ${outer.data.bundle.version}`;
  const wanted = `${policy} on ${name} ${version}`;
  if (of !== wanted) throw wrong(`it is of ${of}, not of ${wanted}`);
  const learned = schema.safeParse(outer.data.learned);
  if (!learned.success) {
    const issue = learned.error.issues[0];
    throw wrong(`${issue?.path.join('.') || 'learned'}: ${issue?.message}`);
  }
  return learned.data;
}

const wrong = (why: string): EdgeError =>
  new EdgeError(
    'controller-state',
    `the saved state of the controller cannot be used, ${why}: start without it`,
  );
