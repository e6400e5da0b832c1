import type { Bundle } from '@raccoon/bundle';

/** One version of one bundle, as it is served. */
export interface Model {
  /** Unique in this process, for messages to workers and for logs: `name@version`, and `#2` when it is loaded again. */
  readonly key: string;
  readonly bundle: Bundle;
}

/** What admission asks the model repository. Synchronous: a swap happens between two requests. */
export interface Models {
  /** The newest version that accepts this codec (12 hexadecimal digits). */
  withCodec(codecId: string): Model | undefined;
  /** The newest version of a bundle; an empty name means the first bundle of the command line. */
  named(name: string): Model | undefined;
  /** Every version of a bundle that is served, newest first. */
  versions(name: string): readonly string[];
  /** The newest version of every bundle, first that of the command line. */
  readonly all: readonly Model[];
}

/** What the model repository asks of the workers. */
export interface ModelHost {
  /**
   * Loads a model in every worker, beside what is there, and runs it once.
   * @throws Error when one of them cannot; then none has it
   */
  load(model: Model): Promise<void>;
  /** Forgets a model once its last queued request is answered. */
  unload(key: string): Promise<void>;
}
