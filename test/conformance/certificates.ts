import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// Certificates for tests, made when they are needed and valid around now: none in the repository to renew, and no
// openssl on the machine. X.509 (RFC 5280) in DER, with ECDSA keys.

const dayMs = 86_400_000;

/** Paths of PEM files. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateWish {
  /** Host names and addresses; for a server. */
  readonly names?: readonly string[];
  /** Days from now; negative: it has ended. */
  readonly days?: number;
}

/** A certificate authority in a folder of its own. */
export class Authority {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'raccoon-tls-'));
  /** Its own certificate's file. */
  readonly ca: string;
  readonly #name: string;
  readonly #keys = newKeys();

  constructor(name = 'test authority') {
    this.#name = name;
    this.ca = join(this.folder, 'ca.pem');
    const basicConstraints = extension('551d13', sequence(der(0x01, Uint8Array.of(0xff))), true);
    writeFileSync(this.ca, this.#sign(name, this.#keys.publicKey, 1000, [basicConstraints]));
  }

  /** A certificate with `name` as its common name, in files of that name; they are written again if they are there. */
  issue(name: string, { names = [], days = 10 }: CertificateWish = {}): CertificateFiles {
    const { publicKey, privateKey } = newKeys();
    const files = { cert: join(this.folder, `${name}.pem`), key: join(this.folder, `${name}.key`) };
    writeFileSync(
      files.cert,
      this.#sign(name, publicKey, days, names.length > 0 ? [alternatives(names)] : []),
    );
    writeFileSync(files.key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    return files;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }

  #sign(name: string, key: KeyObject, days: number, extensions: Buffer[]): string {
    const content = sequence(
      der(0xa0, integer(Uint8Array.of(2))), // version 3
      integer(Buffer.concat([Uint8Array.of(1), randomBytes(8)])),
      ecdsaWithSha256,
      commonName(this.#name),
      sequence(time(-100), time(days)),
      commonName(name),
      key.export({ type: 'spki', format: 'der' }),
      ...(extensions.length > 0 ? [der(0xa3, sequence(...extensions))] : []),
    );
    const signature = sign('sha256', content, this.#keys.privateKey);
    const certificate = sequence(content, ecdsaWithSha256, der(0x03, Uint8Array.of(0), signature));
    const base64 = certificate.toString('base64').replaceAll(/.{64}(?=.)/g, '$&\n'); // an empty line is no PEM
    return `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
  }
}

const newKeys = (): { publicKey: KeyObject; privateKey: KeyObject } =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' });

/** Tag, length, value. */
function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const value = Buffer.concat(parts);
  const { length } = value;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Uint8Array.of(tag, ...size), value]);
}

const sequence = (...parts: Uint8Array[]): Buffer => der(0x30, ...parts);
const integer = (value: Uint8Array): Buffer => der(0x02, value);
const identifier = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const ecdsaWithSha256 = sequence(identifier('2a8648ce3d040302'));

function commonName(name: string): Buffer {
  return sequence(der(0x31, sequence(identifier('550403'), der(0x0c, Buffer.from(name)))));
}

/** GeneralizedTime, so many days from now. */
function time(days: number): Buffer {
  const digits = new Date(Date.now() + days * dayMs).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return der(0x18, Buffer.from(digits));
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(identifier(id), ...(critical ? [der(0x01, Uint8Array.of(0xff))] : []), der(0x04, value));
}

/** subjectAltName: what the certificate is for. */
function alternatives(names: readonly string[]): Buffer {
  const entries = names.map((name) =>
    isIPv4(name) ? der(0x87, Uint8Array.from(name.split('.').map(Number))) : der(0x82, Buffer.from(name)),
  );
  return extension('551d11', sequence(...entries));
}
