import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { TransportError, type Caller } from '@raccoon/transport';
import { CloudError } from './errors.ts';
import type { Log } from './log.ts';

/** A line of the file of tokens. The token itself is not in it, only its SHA-256. */
export interface TokenLine {
  /** The caller's name, for logs, metrics and fairness. Two tokens may share it: the old and the new one. */
  name: string;
  /** SHA-256 of the token, 64 hexadecimal digits. */
  sha256: string;
  /** The bundles that it may use; left out: all. */
  bundles?: string[];
  /** Its own rate limit; left out: the service's. */
  imagesPerSecond?: number;
}

/** A new token, and the line for the file; 256 random bits. */
export function makeToken(about: Omit<TokenLine, 'sha256'>): { token: string; line: TokenLine } {
  const token = `rac_${randomBytes(32).toString('base64url')}`;
  const { name, ...rest } = about;
  return { token, line: { name, sha256: sha256(token).toString('hex'), ...rest } };
}

/** Whether both are the same, in a time that does not tell where they differ. */
export function sameToken(given: string, expected: string): boolean {
  return timingSafeEqual(sha256(given), sha256(expected));
}

/** How often the file is looked at, ms. */
const WATCH_MS = 1000;

interface KnownToken {
  readonly hash: Buffer;
  readonly caller: Caller;
}

/** The callers that may use the service. Follows its file; a file that turns bad changes nothing. */
export class Tokens {
  #known: readonly KnownToken[];
  /** Of the file that was read. */
  #mark: string;
  readonly #file: string;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;

  /** @throws CloudError `tokens` */
  constructor(file: string, log: Log) {
    this.#file = file;
    this.#log = log;
    this.#mark = markOf(file);
    this.#known = readTokens(file);
    this.#timer = setInterval(() => this.read(), WATCH_MS).unref();
  }

  /** Reads the file again if it has changed; keeps what was known when it is wrong. */
  read(): void {
    const mark = markOf(this.#file);
    if (mark === this.#mark) return;
    this.#mark = mark;
    try {
      this.#known = readTokens(this.#file);
      this.#log.info({ file: this.#file, tokens: this.#known.length }, 'tokens read');
    } catch (error) {
      this.#log.error({ file: this.#file, error: (error as Error).message }, 'tokens kept as they were');
    }
  }

  /** @throws TransportError `unauthenticated` */
  caller(token: string | undefined): Caller {
    if (token === undefined) {
      throw new TransportError(
        'unauthenticated',
        'this cloud asks for a token: raccoon edge --token-file, or `authorization: Bearer ...`',
      );
    }
    const hash = sha256(token);
    let found: Caller | undefined;
    for (const known of this.#known) if (timingSafeEqual(known.hash, hash)) found = known.caller; // and on
    if (!found) throw new TransportError('unauthenticated', 'this cloud does not know that token');
    return found;
  }

  /** Whether somebody by that name has a token. */
  has(name: string): boolean {
    return this.#known.some(({ caller }) => caller.name === name);
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

/** Changes when the file does. Not by the system's events: it may be a link that is moved, as Kubernetes' secrets are. */
function markOf(file: string): string {
  const { ino, size, mtimeMs } = statSync(file, { throwIfNoEntry: false }) ?? {};
  return `${ino} ${size} ${mtimeMs}`;
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function readTokens(file: string): KnownToken[] {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    const what = cause instanceof SyntaxError ? 'is not JSON' : 'cannot be read';
    throw new CloudError('tokens', `--tokens ${file} ${what}: \`raccoon token\` writes its lines`, { cause });
  }
  if (!Array.isArray(value)) throw new CloudError('tokens', `--tokens ${file} is not a list of tokens`);
  return value.map((line: unknown, i) => {
    const wrong = whatIsWrong(line);
    if (wrong) throw new CloudError('tokens', `--tokens ${file}: token ${i + 1}: ${wrong}`);
    const { name, sha256: hash, bundles, imagesPerSecond } = line as TokenLine;
    return {
      hash: Buffer.from(hash, 'hex'),
      caller: { name, ...(bundles && { bundles }), ...(imagesPerSecond && { imagesPerSecond }) },
    };
  });
}

const FIELDS: ReadonlySet<string> = new Set(['name', 'sha256', 'bundles', 'imagesPerSecond']);

function whatIsWrong(line: unknown): string | undefined {
  if (typeof line !== 'object' || line === null || Array.isArray(line)) return 'it is not an object';
  const unknown = Object.keys(line).find((field) => !FIELDS.has(field));
  if (unknown) return `nobody knows the field ${unknown}`;
  const { name, sha256: hash, bundles, imagesPerSecond } = line as Partial<Record<keyof TokenLine, unknown>>;
  if (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name)) {
    return 'name: 1 to 64 letters, digits, dots, dashes and underscores';
  }
  if (typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash)) return 'sha256: 64 lower-case hex digits';
  if (bundles !== undefined && !(Array.isArray(bundles) && bundles.every((b) => typeof b === 'string'))) {
    return 'bundles: a list of names';
  }
  if (imagesPerSecond !== undefined && !(typeof imagesPerSecond === 'number' && imagesPerSecond > 0)) {
    return 'imagesPerSecond: a number above 0';
  }
  return undefined;
}
