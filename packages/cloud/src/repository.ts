import { readdir, realpath, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import {
  BundleError,
  checkSignature,
  loadBundle,
  parseManifest,
  verifyBundle,
  type Bundle,
  type FileSource,
  type Manifest,
  type PublicKey,
} from '@raccoon/bundle';
import { findBundle, folderSource } from '@raccoon/bundle/node';
import { CloudError } from './errors.ts';
import type { Log } from './log.ts';
import type { Model, ModelHost, Models } from './model.ts';

export type ModelState =
  | 'ready'
  | 'loading' // verified, and on its way into the workers
  | 'unloading' // its last requests are answered
  | 'superseded' // a newer version accepts all of its codecs
  | 'failed' // not usable; what was served before still is
  | 'unloaded'; // by an admin call, until it is loaded again

/** A version as an operator sees it. */
export interface ModelStatus {
  /** Empty while its manifest could not be read. */
  readonly name: string;
  readonly version: string;
  readonly state: ModelState;
  /** Whether workers have it. */
  readonly loaded: boolean;
  /** Folder. */
  readonly origin: string;
  readonly codecs: readonly string[];
  /** Why it failed; one line. */
  readonly error?: string;
}

export interface RepositoryOptions {
  host: ModelHost;
  log: Log;
  /** Names, paths or loaded bundles. All of them must be good at the start. */
  bundles: readonly (string | Bundle)[];
  /** Where each sub-folder is a bundle, or a folder of bundles: `name/` or `name/version/`. */
  folder?: string | undefined;
  /** Only what one of these has signed is loaded. */
  trust?: readonly PublicKey[] | undefined;
  /** Called after every change of what is served. */
  onChange?: () => void;
}

/** Something that may be served. `id` is the SHA-256 of its manifest, which names all the rest. */
interface Candidate {
  readonly origin: string;
  readonly id: string;
  readonly manifest: Manifest;
}

/** A candidate that workers have. */
interface Serving extends Candidate {
  readonly model: Model;
}

/** What a place holds, as it was read last. */
interface Found {
  readonly origin: string;
  /** Names, sizes and times of its files, when it was read. */
  fingerprint: string;
  /** Seen once and not read yet: it is read when the next look finds the same. */
  unsettled: string | undefined;
  bundle?: Bundle; // handed over in memory
  candidate?: Candidate | undefined;
  error?: Error | undefined;
  unloaded: boolean;
}

/**
 * The bundles that are served: which versions there are, which of them workers have, and who answers what. A version
 * is verified, loaded and warmed beside what is there; then requests go to it from one to the next. Whatever is wrong
 * with it changes nothing for what was served before. An older version stays while it accepts a codec that no newer one
 * does: its edges are still out there.
 */
export class Repository implements Models {
  readonly #options: RepositoryOptions;
  /** By origin, in the order of the command line, then of the folder's names. */
  #found = new Map<string, Found>();
  #explicit: string[] = [];
  #serving: readonly Serving[] = [];
  #loading: Candidate | undefined;
  readonly #unloading = new Set<Serving>();
  readonly #loadedBefore = new Map<string, number>();
  readonly #failures = new Map<string, number>();
  #loads = 0;
  #byCodec: ReadonlyMap<string, Model> = new Map();
  #byName: ReadonlyMap<string, Model> = new Map();
  #all: readonly Model[] = [];
  /** One change at a time. */
  #work: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #looking = false;
  /** Until then what is wrong is thrown; from then on it is logged. */
  #opened = false;

  constructor(options: RepositoryOptions) {
    this.#options = options;
  }

  /**
   * Loads what there is. A bundle of the command line must be good; a bad one in the folder is logged.
   * @throws BundleError, CloudError `no-bundle`
   */
  async open(): Promise<void> {
    for (const given of this.#options.bundles) {
      if (typeof given === 'string') this.#explicit.push(resolve(findBundle(given)));
      else {
        const found = newFound(given.origin);
        found.bundle = given;
        found.candidate = {
          origin: given.origin,
          id: await sha256(given.manifestBytes),
          manifest: given.manifest,
        };
        this.#found.set(given.origin, found);
        this.#explicit.push(given.origin);
      }
    }
    await this.#exclusive(() => this.#reconcile(false));
    for (const origin of this.#explicit) {
      const { error } = this.#found.get(origin)!;
      if (error) throw error;
    }
    this.#opened = true;
    if (this.#serving.length === 0) {
      const first = [...this.#found.values()].find(({ error }) => error)?.error;
      throw new CloudError(
        'no-bundle',
        `no bundle to serve in ${this.#options.folder ?? 'the command line'}: ${first?.message ?? 'put one there, or name one with --bundle'}`,
        { cause: first },
      );
    }
  }

  /** Looks at the folder now and then. What has changed is taken once two looks in a row see the same. */
  watch(everyMs: number): void {
    this.#timer = setInterval(() => {
      if (this.#looking) return;
      this.#looking = true;
      this.#exclusive(() => this.#reconcile(true))
        .catch((error: Error) => this.#options.log.error({ error: error.message }, 'model repository'))
        .finally(() => {
          this.#looking = false;
        });
    }, everyMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  get all(): readonly Model[] {
    return this.#all;
  }

  named(name: string): Model | undefined {
    return name === '' ? this.#all[0] : this.#byName.get(name);
  }

  versions(name: string): readonly string[] {
    const own = this.#serving.filter(({ manifest }) => manifest.name === name);
    return own.map(({ manifest }) => manifest.version);
  }

  withCodec(codecId: string): Model | undefined {
    return this.#byCodec.get(codecId);
  }

  /** Versions taken into service so far. */
  get loads(): number {
    return this.#loads;
  }

  /** Versions not taken, by a BundleError's code or `worker`. */
  get failures(): ReadonlyMap<string, number> {
    return this.#failures;
  }

  status(): ModelStatus[] {
    const serving = this.#serving.map((of) => statusOf(of, 'ready', true));
    const unloading = [...this.#unloading].map((of) => statusOf(of, 'unloading', true));
    const others = [...this.#found.values()].flatMap((found) => {
      const { origin, candidate, error } = found;
      if (error) {
        return [
          { ...statusOf(candidate ?? { origin }, 'failed', false), error: error.message.split('\n')[0]! },
        ];
      }
      const served = [...this.#serving, ...this.#unloading];
      if (!candidate || served.some((of) => same(of, candidate))) return [];
      if (found.unloaded) return [statusOf(candidate, 'unloaded', false)];
      return [statusOf(candidate, this.#loading === candidate ? 'loading' : 'superseded', false)];
    });
    return [...serving, ...unloading, ...others];
  }

  /**
   * Looks at every folder now, without waiting for it to settle.
   * @returns what is there afterwards
   */
  reload(): Promise<ModelStatus[]> {
    return this.#exclusive(async () => {
      // what failed in a worker may work now
      for (const found of this.#found.values()) if (found.error && !found.bundle) found.fingerprint = '';
      await this.#reconcile(false);
      return this.status();
    });
  }

  /**
   * Serves a bundle by name or path, too, or one that was unloaded again.
   * @throws BundleError, Error of a worker: it is not served
   */
  load(nameOrPath: string): Promise<ModelStatus[]> {
    return this.#exclusive(async () => {
      const origin = resolve(findBundle(nameOrPath));
      const added = !this.#found.has(origin);
      if (added) this.#explicit.push(origin);
      else Object.assign(this.#found.get(origin)!, { unloaded: false, fingerprint: '' });
      await this.#reconcile(false);
      const { error } = this.#found.get(origin)!;
      if (!error) return this.status();
      if (added) {
        this.#explicit = this.#explicit.filter((of) => of !== origin);
        this.#found.delete(origin);
      }
      throw error;
    });
  }

  /**
   * Serves a version, or all of a bundle's, no more; what was superseded by it takes its place. Its last requests are
   * answered.
   * @throws CloudError `no-bundle`
   */
  unload(name: string, version?: string): Promise<ModelStatus[]> {
    return this.#exclusive(async () => {
      const gone = [...this.#found.values()].filter(
        ({ candidate }) =>
          candidate?.manifest.name === name &&
          (version ?? candidate.manifest.version) === candidate.manifest.version,
      );
      if (gone.length === 0) {
        throw new CloudError('no-bundle', `there is no ${name}${version ? ` ${version}` : ''} to unload`);
      }
      for (const found of gone) found.unloaded = true;
      await this.#reconcile(false);
      return this.status();
    });
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => undefined);
    return done;
  }

  /** Reads what has changed, loads what should be served, swaps, unloads the rest. */
  async #reconcile(settle: boolean): Promise<void> {
    await this.#look(settle);
    for (;;) {
      const wanted = this.#plan();
      const missing = wanted.find((candidate) => !this.#serving.some((of) => same(of, candidate)));
      if (!missing) {
        this.#swap(this.#serving.filter((of) => wanted.some((candidate) => same(of, candidate))));
        return;
      }
      const found = this.#found.get(missing.origin)!;
      try {
        const loaded = await this.#load(missing, found);
        // before anything is dropped: there is no moment without a version
        this.#serving = [...this.#serving, loaded];
      } catch (error) {
        this.#fail(found, error as Error);
      }
    }
  }

  async #look(settle: boolean): Promise<void> {
    const { folder, log } = this.#options;
    let inFolder: string[] = [...this.#found.keys()].filter((origin) => !this.#explicit.includes(origin));
    if (folder !== undefined) {
      try {
        inFolder = await bundleFolders(resolve(folder), new Set(this.#found.keys()));
      } catch (error) {
        if (!this.#opened) {
          throw new CloudError('option', `--model-repository ${folder} cannot be read`, { cause: error });
        }
        // a volume that is away for a moment takes nothing out of service
        log.error({ folder, error: (error as Error).message }, 'model repository cannot be read');
      }
    }
    const before = this.#found;
    this.#found = new Map();
    for (const origin of new Set([...this.#explicit, ...inFolder])) {
      const found = before.get(origin) ?? newFound(origin);
      this.#found.set(origin, found);
      if (!found.bundle) await this.#read(found, settle);
    }
    if (!settle) return;
    for (const [origin, found] of before) {
      if (this.#found.has(origin) || found.unsettled === GONE) continue;
      found.unsettled = GONE; // perhaps it is only being replaced
      this.#found.set(origin, found);
    }
  }

  /** Reads a folder's manifest when it has changed; what is wrong with it is kept beside it. */
  async #read(found: Found, settle: boolean): Promise<void> {
    const fingerprint = await fingerprintOf(found.origin);
    if (fingerprint === found.fingerprint) {
      found.unsettled = undefined;
      return;
    }
    if (settle && found.unsettled !== fingerprint) {
      found.unsettled = fingerprint;
      return;
    }
    found.unsettled = undefined;
    found.fingerprint = fingerprint;
    try {
      const source = folderSource(found.origin);
      const manifestBytes = await this.#readManifest(source);
      if (!manifestBytes) return; // half-written: the manifest comes last
      found.candidate = {
        origin: found.origin,
        id: await sha256(manifestBytes),
        manifest: parseManifest(new TextDecoder().decode(manifestBytes), found.origin),
      };
      found.error = undefined;
    } catch (error) {
      this.#fail(found, error as Error);
    }
  }

  /** The bytes of the manifest, signature checked; undefined where there is none in a folder of the repository. */
  async #readManifest(source: FileSource): Promise<Uint8Array<ArrayBuffer> | undefined> {
    let bytes;
    try {
      bytes = await source.read('manifest.json');
    } catch (error) {
      if (this.#explicit.includes(source.origin)) throw error;
      return undefined;
    }
    if (this.#options.trust) await checkSignature(source, bytes, this.#options.trust);
    return bytes;
  }

  /**
   * What should be served: of each bundle the newest version, and the older ones with codecs that no newer one accepts.
   * A place that turned bad stands for what it was loaded as.
   */
  #plan(): Candidate[] {
    const byName = new Map<string, Candidate[]>();
    for (const found of this.#found.values()) {
      if (found.unloaded) continue;
      const served = this.#serving.findLast(({ origin }) => origin === found.origin);
      const candidate = found.error ? served : found.candidate;
      if (!candidate) continue;
      const { name } = candidate.manifest;
      byName.set(name, [...(byName.get(name) ?? []), candidate]);
    }
    return [...byName.values()].flatMap((candidates) => {
      const covered = new Set<string>();
      return candidates
        .toSorted((a, b) => compareVersions(b.manifest.version, a.manifest.version))
        .filter(({ manifest: { codecs } }) => {
          const needed = codecs.some(({ id }) => !covered.has(id));
          for (const { id } of codecs) covered.add(id);
          return needed;
        });
    });
  }

  async #load(candidate: Candidate, found: Found): Promise<Serving> {
    this.#loading = candidate;
    try {
      const bundle =
        found.bundle ?? (await loadBundle(folderSource(candidate.origin), { trust: this.#options.trust }));
      const id = await sha256(bundle.manifestBytes);
      if (id !== candidate.id) {
        throw new BundleError('file-hash', `${candidate.origin}/manifest.json changed while it was loaded`);
      }
      await verifyBundle(bundle);
      const { name, version } = candidate.manifest;
      const times = (this.#loadedBefore.get(`${name}@${version}`) ?? 0) + 1;
      const model: Model = { key: `${name}@${version}${times > 1 ? `#${times}` : ''}`, bundle };
      await this.#options.host.load(model);
      this.#loadedBefore.set(`${name}@${version}`, times);
      this.#loads++;
      this.#options.log.info({ model: model.key, origin: candidate.origin }, 'bundle loaded');
      return { ...candidate, model };
    } finally {
      this.#loading = undefined;
    }
  }

  #fail(found: Found, error: Error): void {
    found.error = error;
    const code = error instanceof BundleError ? error.code : 'worker';
    this.#failures.set(code, (this.#failures.get(code) ?? 0) + 1);
    if (!this.#opened && this.#explicit.includes(found.origin)) return;
    this.#options.log.error({ origin: found.origin, code, error: error.message }, 'bundle not taken');
  }

  /** From here on requests go to these. The others are forgotten once their last request is answered. */
  #swap(next: readonly Serving[]): void {
    const gone = this.#serving.filter((of) => !next.includes(of));
    // in the order of the command line and the folder; of one bundle the newest first
    const order = [...this.#found.values()].map(({ origin }) => origin);
    const names = [
      ...new Set(
        next
          .toSorted((a, b) => order.indexOf(a.origin) - order.indexOf(b.origin))
          .map(({ manifest }) => manifest.name),
      ),
    ];
    this.#serving = next.toSorted(
      (a, b) =>
        names.indexOf(a.manifest.name) - names.indexOf(b.manifest.name) ||
        compareVersions(b.manifest.version, a.manifest.version),
    );
    const byName = new Map<string, Model>();
    const byCodec = new Map<string, Model>();
    for (const { manifest, model } of this.#serving) {
      if (!byName.has(manifest.name)) byName.set(manifest.name, model);
      for (const { id } of manifest.codecs) if (!byCodec.has(id)) byCodec.set(id, model);
    }
    this.#byName = byName;
    this.#byCodec = byCodec;
    this.#all = [...byName.values()];
    for (const of of gone) void this.#unload(of);
    this.#options.onChange?.();
  }

  async #unload(of: Serving): Promise<void> {
    const { key } = of.model;
    this.#unloading.add(of);
    try {
      await this.#options.host.unload(key);
      this.#options.log.info({ model: key }, 'bundle unloaded');
    } catch (error) {
      this.#options.log.error({ model: key, error: (error as Error).message }, 'bundle not unloaded');
    } finally {
      this.#unloading.delete(of);
    }
  }
}

/** In place of a fingerprint: the folder was not there. */
const GONE = 'gone';

function newFound(origin: string): Found {
  return { origin, fingerprint: '', unsettled: undefined, unloaded: false };
}

function same(a: Candidate, b: Candidate): boolean {
  return a.origin === b.origin && a.id === b.id;
}

function statusOf(
  { origin, manifest }: { origin: string; manifest?: Manifest },
  state: ModelState,
  loaded: boolean,
): ModelStatus {
  return {
    name: manifest?.name ?? '',
    version: manifest?.version ?? '',
    state,
    loaded,
    origin,
    codecs: manifest?.codecs.map(({ id }) => id) ?? [],
  };
}

/** `1.10.0` is after `1.9.3`. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  return left!.map((part, i) => part - right![i]!).find((difference) => difference !== 0) ?? 0;
}

/**
 * Every folder in `root` with a manifest, and in those without one: `name/` and `name/version/`. What begins with a dot
 * is somebody's unfinished copy. A folder in `known` is listed also while it has no manifest.
 */
async function bundleFolders(root: string, known: ReadonlySet<string>): Promise<string[]> {
  const folders: string[] = [];
  const visit = async (folder: string, deeper: boolean): Promise<void> => {
    const entries = (await readdir(folder)).toSorted();
    if (entries.includes('manifest.json') || known.has(folder)) {
      folders.push(folder);
      return;
    }
    if (deeper) await visitAll(folder, entries, false);
  };
  const visitAll = async (folder: string, entries: string[], deeper: boolean): Promise<void> => {
    for (const entry of entries) {
      const path = join(folder, entry);
      if (entry.startsWith('.') || !(await isFolder(path))) continue;
      await visit(path, deeper).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error; // it went away while we looked
      });
    }
  };
  await visitAll(root, (await readdir(root)).toSorted(), true);
  return folders;
}

function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
}

/** Changes whenever a file of the folder does. */
async function fingerprintOf(folder: string): Promise<string> {
  try {
    const files = (await readdir(folder)).toSorted();
    const marks = files.map(async (file) => {
      const { size, mtimeMs, ino } = await stat(join(folder, file));
      return `${file} ${size} ${mtimeMs} ${ino}`;
    });
    return [await realpath(folder), ...(await Promise.all(marks))].join('\n');
  } catch {
    return `unreadable ${Date.now()}`; // somebody is at it
  }
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('hex');
}
