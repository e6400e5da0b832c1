import { BundleError } from './errors.ts';

// ed25519 (RFC 8032) over the manifest's bytes, which name the SHA-256 of every other file. WebCrypto, so that a browser
// can check it as well; keys are PEM, so that openssl can make, use and check them.

/**
 * The detached signature, beside `manifest.json`: 64 bytes over the manifest, or, where it ends one day, 64 bytes over
 * the manifest and the 8 bytes of that moment (seconds since 1970, big-endian), which follow them.
 */
export const SIGNATURE_FILE = 'manifest.sig';

/** Who may sign a bundle. */
export interface PublicKey {
  /** First 16 hexadecimal digits of the SHA-256 of its SPKI bytes: for people to compare. */
  readonly id: string;
  /** Whether `signature` is this key's over `message`. */
  verify(message: Uint8Array<ArrayBuffer>, signature: Uint8Array<ArrayBuffer>): Promise<boolean>;
}

/** A new pair, in PEM: SPKI and PKCS#8. */
export async function generateKeys(): Promise<{ publicKey: string; privateKey: string }> {
  const pair = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify']);
  if (!('publicKey' in pair)) throw new TypeError('ed25519 keys come in pairs'); // said by its declarations, too
  const spki = await crypto.subtle.exportKey('spki', pair.publicKey);
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', pair.privateKey);
  return { publicKey: toPem('PUBLIC KEY', spki), privateKey: toPem('PRIVATE KEY', pkcs8) };
}

/**
 * @param pem SPKI, as `raccoon bundle keygen` or `openssl pkey -pubout` write it
 * @param origin where it comes from, for the error
 * @throws BundleError `key`
 */
export async function readPublicKey(pem: string, origin: string): Promise<PublicKey> {
  const spki = fromPem('PUBLIC KEY', pem, origin);
  const key = await importing('public', origin, () =>
    crypto.subtle.importKey('spki', spki, 'Ed25519', true, ['verify']),
  );
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', spki));
  return {
    id: Array.from(digest.subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join(''),
    verify: (message, signature) => crypto.subtle.verify('Ed25519', key, signature, message),
  };
}

const SIGNATURE_BYTES = 64;
const EXPIRY_BYTES = 8;

/**
 * What goes into `manifest.sig`.
 * @param manifest the bytes of `manifest.json`
 * @param pem PKCS#8
 * @param expires from then on nobody installs or serves the bundle by this signature; absent: it does not end
 * @returns 64 or 72 bytes
 * @throws BundleError `key`
 */
export async function signManifest(
  manifest: Uint8Array<ArrayBuffer>,
  pem: string,
  origin: string,
  expires?: Date,
): Promise<Uint8Array<ArrayBuffer>> {
  const pkcs8 = fromPem('PRIVATE KEY', pem, origin);
  const key = await importing('private', origin, () =>
    crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', false, ['sign']),
  );
  if (!expires) return new Uint8Array(await crypto.subtle.sign('Ed25519', key, manifest));
  const expiry = new Uint8Array(EXPIRY_BYTES);
  new DataView(expiry.buffer).setBigUint64(0, BigInt(Math.floor(expires.getTime() / 1000)));
  const signature = await crypto.subtle.sign('Ed25519', key, joined(manifest, expiry));
  return joined(new Uint8Array(signature), expiry);
}

/**
 * Checks that one of `trust` has signed the manifest, and that the signature has not ended.
 * @param signature the bytes of `manifest.sig`, if there is one
 * @param origin of the bundle, for the error
 * @throws BundleError `unsigned`, `signature`, `expired`
 */
export async function verifySignature(
  signature: Uint8Array<ArrayBuffer> | undefined,
  manifest: Uint8Array<ArrayBuffer>,
  trust: readonly PublicKey[],
  origin: string,
  now: Date = new Date(),
): Promise<void> {
  if (!signature) {
    throw new BundleError(
      'unsigned',
      `${origin} has no ${SIGNATURE_FILE}: \`raccoon bundle sign\` makes one`,
    );
  }
  const signed = signature.subarray(0, SIGNATURE_BYTES);
  const expiry = signature.subarray(SIGNATURE_BYTES);
  const message = joined(manifest, expiry);
  const isWhole = expiry.length === 0 || expiry.length === EXPIRY_BYTES;
  let signer: PublicKey | undefined;
  if (isWhole) for (const key of trust) if (await key.verify(message, signed)) signer = key;
  if (!signer) {
    throw new BundleError(
      'signature',
      `${origin}: ${SIGNATURE_FILE} is not by a trusted key (${trust.map(({ id }) => id).join(', ')}): ` +
        'the manifest was changed, or somebody else signed it',
    );
  }
  if (expiry.length === 0) return;
  const seconds = new DataView(expiry.buffer, expiry.byteOffset).getBigUint64(0);
  if (BigInt(Math.floor(now.getTime() / 1000)) < seconds) return;
  const ended = new Date(Number(seconds) * 1000).toISOString();
  throw new BundleError(
    'expired',
    `${origin}: its signature by ${signer.id} ended ${ended}: ask its publisher to sign it again` +
      ` (this machine's clock says ${now.toISOString()})`,
  );
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}

async function importing<T>(kind: string, origin: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new BundleError('key', `${origin} holds no ed25519 ${kind} key: ${makeOne}`, { cause });
  }
}

const makeOne = '`raccoon bundle keygen` makes a pair';

function toPem(label: string, der: ArrayBuffer): string {
  const base64 = btoa(String.fromCharCode(...new Uint8Array(der)));
  return `-----BEGIN ${label}-----\n${base64}\n-----END ${label}-----\n`;
}

function fromPem(label: string, pem: string, origin: string): Uint8Array<ArrayBuffer> {
  const body = new RegExp(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]+)-----END ${label}-----`).exec(
    pem,
  )?.[1];
  if (!body) throw new BundleError('key', `${origin} has no PEM block "${label}": ${makeOne}`);
  try {
    return Uint8Array.from(atob(body.replace(/\s/g, '')), (character) => character.charCodeAt(0));
  } catch (cause) {
    throw new BundleError('key', `${origin} is not base64 between its PEM lines: ${makeOne}`, { cause });
  }
}
