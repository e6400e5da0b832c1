import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { parseResults, type ResultsFile } from '../results.ts';
import { contentHash } from './spec.ts';
import type { Training, Trial } from './trials.ts';

/** What is known of a training that has ended well. */
export interface Trained {
  /** Multiply-accumulates of its cloud half and, by stop, of its edge half, for one image. */
  cloudMacs: number;
  edgeMacs: number[];
  /** Of learning from one image, all passes together. */
  trainMacsPerImage: number;
  /** Images that it has seen. */
  images: number;
  /** Of the whole training on this machine; null where it was interrupted in between. */
  imagesPerSecond: number | null;
}

export interface Failure {
  /** What was being done. */
  step: string;
  message: string;
}

const TRAINED = 'trained.json';
const RESULTS = 'results.json';
const ERROR = 'error.json';

/**
 * A sweep on disk (docs/sweeps.md has the schema). A file that says that something is finished is written beside its place
 * and renamed: it is there as a whole, and then what it says is done, or it is not there.
 */
export class SweepStore {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  runFolder({ id }: Training): string {
    return join(this.folder, 'runs', id);
  }

  trialFolder({ id }: Trial): string {
    return join(this.folder, 'trials', id);
  }

  /** Where photos are unpacked to. */
  get photos(): string {
    return join(this.folder, 'photos');
  }

  /**
   * Keeps others out until `release`: two sweeps in one store would train the same thing twice.
   * @throws Error that names the process which has it
   */
  lock(): () => void {
    mkdirSync(this.folder, { recursive: true });
    const path = join(this.folder, 'lock');
    const own = `${process.pid} ${hostname()}`;
    for (;;) {
      try {
        writeFileSync(path, own, { flag: 'wx' });
        return () => rmSync(path, { force: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const owner = readFileSync(path, 'utf8');
      const [pid, host] = owner.split(' ');
      if (host !== hostname() || isAlive(Number(pid))) {
        throw new Error(
          `a sweep is at work in ${this.folder} (process ${pid} on ${host}): wait for it, or remove ${path} if it is not there`,
        );
      }
      rmSync(path, { force: true }); // it was killed
    }
  }

  /** Says in the store what a trial and its training are, for people and other programs. */
  describe(trial: Trial): void {
    const { training, ...own } = trial;
    const { after, ...rest } = training;
    this.#write(join(this.runFolder(training), 'run.json'), { ...rest, ...(after && { after: after.id }) });
    this.#write(join(this.trialFolder(trial), 'trial.json'), { ...own, training: training.id });
  }

  trained(training: Training): Trained | undefined {
    return this.#read(join(this.runFolder(training), TRAINED)) as Trained | undefined;
  }

  setTrained(training: Training, trained: Trained): void {
    this.#write(join(this.runFolder(training), TRAINED), trained);
  }

  /** Whether the training was begun: it has a checkpoint. */
  begun(training: Training): boolean {
    return existsSync(join(this.runFolder(training), 'run', 'last.pt'));
  }

  results(trial: Trial): ResultsFile | undefined {
    const path = join(this.trialFolder(trial), RESULTS);
    const value = this.#read(path);
    return value === undefined ? undefined : parseResults(value, path);
  }

  setResults(trial: Trial, results: ResultsFile): void {
    this.#write(join(this.trialFolder(trial), RESULTS), results);
    rmSync(join(this.trialFolder(trial), ERROR), { force: true });
  }

  failure(trial: Trial): Failure | undefined {
    return this.#read(join(this.trialFolder(trial), ERROR)) as Failure | undefined;
  }

  setFailure(trial: Trial, failure: Failure): void {
    this.#write(join(this.trialFolder(trial), ERROR), failure);
  }

  /** The unsplit network's own results, by what they are of; `measure` makes them where there are none. */
  async unsplit(of: unknown, measure: () => Promise<ResultsFile>): Promise<void> {
    const path = join(this.folder, 'trials', `unsplit-${contentHash(of, 12)}`, RESULTS);
    if (!existsSync(path)) this.#write(path, await measure());
  }

  #read(path: string): unknown {
    if (!existsSync(path)) return undefined;
    try {
      return JSON.parse(readFileSync(path, 'utf8'));
    } catch (cause) {
      throw new Error(`${path} is not JSON: remove it, and the sweep makes it again`, { cause });
    }
  }

  /** On the disk as a whole before it has its name: also when the power fails. */
  #write(path: string, value: unknown): void {
    mkdirSync(join(path, '..'), { recursive: true });
    const unfinished = `${path}.${process.pid}.new`;
    const file = openSync(unfinished, 'w');
    try {
      writeFileSync(file, `${JSON.stringify(value, null, 1)}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(unfinished, path);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
