import { pointName, type Manifest } from '@raccoon/bundle';
import { z } from 'zod';
import { staysLocal } from '../cascade.ts';
import { withoutLink } from './fixed.ts';
import type { Action, Limits, Policy } from './policy.ts';
import { restoreState, saveState } from './state.ts';

/**
 * Always the same operating point, except for images that the local exit is sure of: those are answered here (EdgeCompress'
 * dynamic inference across the link).
 * @param threshold D0; none: the exit is not trusted to answer on its own
 */
export function thresholdPolicy(
  manifest: Manifest,
  point: number,
  threshold: number | undefined,
  { deadlineMs }: Limits,
): Policy {
  const chosen = manifest.points[point]!;
  const { n, precision = 'float32' } = chosen;
  const name = 'threshold';
  return {
    name,
    encoders: [{ n, precision }],
    chooseEncoder: () => ({ n, precision }),
    chooseAction({ link }, sighting) {
      const sure = sureEnough(sighting.exit, threshold);
      if (sure) return sure;
      if (deadlineMs !== undefined && !link.up) return withoutLink(sighting, 'the link is down');
      const why =
        threshold === undefined || !sighting.exit
          ? 'there is no local exit to be trusted'
          : `margin ${sighting.exit.margin.toFixed(2)} is not above ${threshold.toFixed(2)}`;
      return { kind: 'send', point, reason: `${pointName(chosen)}: ${why}` };
    },
    observe: () => undefined,
    save: () => saveState(name, manifest, {}),
    restore: (state) => void restoreState(state, name, manifest, z.strictObject({})),
  };
}

/** The local exit's answer, where its margin is above D0. */
export function sureEnough(
  exit: { readonly margin: number } | undefined,
  threshold: number | undefined,
): Action | undefined {
  if (!exit || threshold === undefined || !staysLocal(exit.margin, threshold)) return undefined;
  const reason = `margin ${exit.margin.toFixed(2)} is above ${threshold.toFixed(2)}: the local exit is sure`;
  return { kind: 'local', degraded: false, reason };
}
