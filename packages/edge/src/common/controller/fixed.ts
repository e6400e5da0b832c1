import { pointName, type Manifest } from '@raccoon/bundle';
import { z } from 'zod';
import type { Action, Limits, Policy, Sighting } from './policy.ts';
import { restoreState, saveState } from './state.ts';

/**
 * Always the same operating point. With a deadline an image does not wait for a link that is down: the local exit answers,
 * where there is one.
 */
export function fixedPolicy(manifest: Manifest, point: number, { deadlineMs }: Limits): Policy {
  const chosen = manifest.points[point]!;
  const { n, precision = 'float32' } = chosen;
  const name = 'fixed';
  return {
    name,
    encoders: [{ n, precision }],
    chooseEncoder: () => ({ n, precision }),
    chooseAction(situation, sighting) {
      if (deadlineMs !== undefined && !situation.link.up) return withoutLink(sighting, 'the link is down');
      return { kind: 'send', point, reason: `${pointName(chosen)}: as it was set` };
    },
    observe: () => undefined,
    save: () => saveState(name, manifest, {}),
    restore: (state) => void restoreState(state, name, manifest, z.strictObject({})),
  };
}

/** What is left when nothing can be sent in time. */
export function withoutLink({ exit }: Pick<Sighting, 'exit'>, why: string): Action {
  return exit
    ? { kind: 'local', degraded: true, reason: `${why}; the local exit answers` }
    : { kind: 'drop', reason: `${why}, and this bundle has no local exit` };
}
