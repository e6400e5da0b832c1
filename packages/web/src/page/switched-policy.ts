import {
  createPolicy,
  type Action,
  type Feedback,
  type Manifest,
  type Policy,
  type Sighting,
  type Situation,
} from '@raccoon/client/browser';
import type { Settings } from './protocol.ts';

/** The visitor's choice or the controller's, switched at any time; and somebody who is told what was decided. */
export class SwitchedPolicy implements Policy {
  /** With one that is called `fixed` a client waits for the cloud; with any other the local exit answers without it. */
  readonly name = 'switched';
  readonly #decided: (action: Action, sighting: Sighting) => void;
  #manifest: Manifest | undefined;
  #auto: Policy | undefined;
  #fixed: Policy | undefined;
  #chooses: Settings['policy'] = 'fixed';

  constructor(decided: (action: Action, sighting: Sighting) => void) {
    this.#decided = decided;
  }

  /** Once the bundle is here, before the first photo. */
  begin(manifest: Manifest, settings: Settings): void {
    const { deadlineMs } = settings;
    this.#manifest = manifest;
    this.#auto = createPolicy('auto', { manifest, limits: { deadlineMs }, precision: 'float32' });
    this.set(settings);
  }

  set({ policy, n, q, deadlineMs }: Settings): void {
    const manifest = this.#manifest!;
    this.#chooses = policy;
    // a limit, even an infinite one, keeps a photo from waiting for a link that is down
    const limits = { deadlineMs };
    this.#fixed = createPolicy('fixed', {
      manifest,
      limits,
      precision: 'float32',
      ...(n !== undefined && { blocks: n }),
      ...(q !== undefined && { rate: q }),
    });
  }

  chooseEncoder(situation: Situation): ReturnType<Policy['chooseEncoder']> {
    return this.#policy.chooseEncoder(situation);
  }

  chooseAction(situation: Situation, sighting: Sighting): Action {
    const action = this.#policy.chooseAction(situation, sighting);
    this.#decided(action, sighting);
    return action;
  }

  observe(feedback: Feedback): void {
    this.#policy.observe(feedback);
  }

  save(): unknown {
    return this.#policy.save();
  }

  restore(state: unknown): void {
    this.#policy.restore(state);
  }

  get #policy(): Policy {
    return (this.#chooses === 'auto' ? this.#auto : this.#fixed)!;
  }
}
