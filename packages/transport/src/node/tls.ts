import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  createSecureContext,
  type SecureContextOptions,
  type Server,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import { ChannelCredentials } from '@grpc/grpc-js';
import { TransportError } from '../errors.ts';

/** Paths of PEM files. They are read again when they change: new connections get what is new, open ones stay. */
export interface ServerTls {
  readonly cert: string;
  readonly key: string;
  /** Who signs client certificates. */
  readonly ca?: string;
  /** Whether a client needs one; default: when there is a `ca`. */
  readonly requireClientCertificate?: boolean;
  /** ms between two looks at the files; 10,000 unless given. */
  readonly reloadMs?: number;
  /** After the files changed: without an error the new ones are in use, with one the old ones still are. */
  readonly onReload?: (error?: Error) => void;
}

/** Paths of PEM files. */
export interface ClientTls {
  /** Who signs the cloud's certificate; default: the authorities that Node knows. */
  readonly ca?: string;
  /** For a cloud that asks for one; both or none. */
  readonly cert?: string;
  readonly key?: string;
  /** The name in the cloud's certificate, where it is not that of the address. */
  readonly serverName?: string;
}

/** The certificate that a server shows, as the files have it. */
export class ServerIdentity {
  readonly #tls: ServerTls;
  #files: SecureContextOptions;
  #timer: NodeJS.Timeout | undefined;

  /** @throws TransportError 'bad-request' */
  constructor(tls: ServerTls) {
    this.#tls = tls;
    this.#files = this.#read();
  }

  get options(): TlsOptions {
    // Whether a client's certificate is good is said in an answer: a broken handshake would not say what to do.
    return { ...this.#files, requestCert: this.#tls.ca !== undefined, rejectUnauthorized: false };
  }

  /** When the certificate ends. */
  get expires(): Date {
    return new Date(new X509Certificate(String(this.#files.cert)).validTo);
  }

  watch(server: Server): void {
    // Polling, because a mounted secret is a symbolic link to a folder that is replaced, which fs.watch does not see.
    this.#timer = setInterval(() => this.#reload(server), this.#tls.reloadMs ?? 10_000).unref();
  }

  unwatch(): void {
    clearInterval(this.#timer);
  }

  /** What a client's certificate says. */
  clientOf(socket: TLSSocket): { readonly refusal?: string; readonly certificateName?: string } {
    const { ca, requireClientCertificate = ca !== undefined } = this.#tls;
    if (socket.authorized) return named(socket.getPeerCertificate().subject?.CN);
    if (!requireClientCertificate) return {};
    // A string, or an Error with a code; getPeerCertificate is an empty object when there was none.
    const none = !socket.getPeerCertificate().subject;
    const remedy = 'give one with tls.cert and tls.key (raccoon edge --tls-cert, --tls-key)';
    if (none) return { refusal: `this cloud asks for a client certificate: ${remedy}` };
    return {
      refusal: `the client certificate is not accepted (${String(socket.authorizationError)}): ${remedy}`,
    };
  }

  #reload(server: Server): void {
    try {
      const files = this.#read();
      if (same(files, this.#files)) return;
      server.setSecureContext(files);
      this.#files = files;
      this.#tls.onReload?.();
    } catch (cause) {
      this.#tls.onReload?.(TransportError.from(cause));
    }
  }

  #read(): SecureContextOptions {
    const { cert, key, ca } = this.#tls;
    return pem({ cert, key, ...(ca !== undefined && { ca }) });
  }
}

/** @throws TransportError 'bad-request' for files that cannot be used */
export function channelCredentials(tls: ClientTls | true): ChannelCredentials {
  const { ca, cert, key } = tls === true ? {} : tls;
  if ((cert === undefined) !== (key === undefined)) {
    throw new TransportError('bad-request', 'a client certificate needs both tls.cert and tls.key');
  }
  const files = pem({
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  });
  return ChannelCredentials.createFromSecureContext(createSecureContext(files));
}

const named = (name: unknown): { readonly certificateName?: string } =>
  typeof name === 'string' && name !== '' ? { certificateName: name } : {};

type Paths = Partial<Record<'cert' | 'key' | 'ca', string>>;

/** What a message calls a file: whoever reads it may have given it as an option of a program or of a command. */
const WHAT = { cert: 'TLS certificate', key: 'TLS key', ca: 'TLS authorities (ca)' };

/** The files of `paths`, which go together. */
function pem(paths: Paths): SecureContextOptions {
  const files: Record<string, string> = {};
  for (const [name, path] of Object.entries(paths)) {
    try {
      files[name] = readFileSync(path, 'latin1');
    } catch (cause) {
      throw new TransportError(
        'bad-request',
        `cannot read the ${WHAT[name as keyof Paths]} in ${path}: is it there, and yours to read?`,
        { cause },
      );
    }
    if (!files[name].includes('-----BEGIN ')) {
      throw new TransportError(
        'bad-request',
        `${path}, for the ${WHAT[name as keyof Paths]}, is no PEM file`,
      );
    }
  }
  try {
    createSecureContext(files);
  } catch (cause) {
    const list = Object.values(paths).join(', ');
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TransportError('bad-request', `cannot use ${list} for TLS: ${why}`, { cause });
  }
  return files;
}

const same = (a: SecureContextOptions, b: SecureContextOptions): boolean =>
  a.cert === b.cert && a.key === b.key && a.ca === b.ca;

/** What can be wrong between two ends of a connection that want TLS, by OpenSSL's and Node's words for it. */
const problems: readonly {
  readonly says: RegExp;
  readonly code: 'protocol' | 'unauthenticated';
  readonly message: (target: string) => string;
}[] = [
  {
    says: /wrong version number|packet length too long/,
    code: 'protocol',
    message: (target) =>
      `what answers at ${target} does not speak TLS: connect without tls, or start it with --tls-cert and --tls-key`,
  },
  {
    says: /certificate has expired/,
    code: 'unauthenticated',
    message: (target) => `the certificate of ${target} has expired: its operator has to renew it`,
  },
  {
    says: /certificate is not yet valid/,
    code: 'unauthenticated',
    message: (target) => `the certificate of ${target} is not valid yet: is this machine's clock right?`,
  },
  {
    says: /does not match certificate's altnames/,
    code: 'unauthenticated',
    message: (target) =>
      `the certificate of ${target} is for another name: give that as tls.serverName (raccoon edge --tls-server-name)`,
  },
  {
    says: /unable to (verify|get)|self[- ]signed certificate/,
    code: 'unauthenticated',
    message: (target) =>
      `the certificate of ${target} is signed by nobody known here: give its authority as tls.ca (raccoon edge --tls-ca)`,
  },
  {
    says: /alert (certificate required|bad certificate|unknown ca|certificate expired|handshake failure)/,
    code: 'unauthenticated',
    message: (target) =>
      `${target} does not accept this client's certificate: give one that it knows as tls.cert and tls.key (raccoon edge --tls-cert, --tls-key)`,
  },
];

/** The TLS error in what grpc-js says about a connection. */
export function tlsProblem(cause: unknown, target: string): TransportError | undefined {
  const details = cause instanceof Error && 'details' in cause ? String(cause.details) : '';
  const problem = problems.find(({ says }) => says.test(details));
  return problem && new TransportError(problem.code, problem.message(target), { cause });
}
