import { loadCodec, type Codec } from '@raccoon/codec';
import { BundleError } from './errors.ts';
import { parseManifest, type Manifest } from './manifest.ts';
import { SIGNATURE_FILE, verifySignature, type PublicKey } from './signature.ts';
import type { FileSource } from './source.ts';

/** A model as one verified unit. Nothing of it is used before its hash was checked. */
export interface Bundle {
  readonly manifest: Manifest;
  /** `manifest.json`, byte for byte: what a signature is over. */
  readonly manifestBytes: Uint8Array<ArrayBuffer>;
  readonly origin: string;
  /** The codec that this bundle's encoders write with. */
  readonly codec: Codec;
  /** Every codec that its cloud half accepts, by id. */
  readonly codecs: ReadonlyMap<string, Codec>;
  /** The bytes of one of the manifest's files, size and SHA-256 checked. */
  read(file: string): Promise<Uint8Array<ArrayBuffer>>;
  /** `manifest.sig`, where there is one: for whoever passes the bundle on. */
  signature(): Promise<Uint8Array<ArrayBuffer> | undefined>;
}

export interface LoadOptions {
  /** Only a bundle that one of these has signed is loaded; absent: any is. */
  trust?: readonly PublicKey[] | undefined;
}

/**
 * Loads manifest and coding tables; the networks are read (and checked) when asked for.
 * @throws BundleError
 */
export async function loadBundle(source: FileSource, { trust }: LoadOptions = {}): Promise<Bundle> {
  const { origin } = source;
  const manifestBytes = await source.read('manifest.json');
  if (trust) await checkSignature(source, manifestBytes, trust); // before a byte of it is believed
  const manifest = parseManifest(new TextDecoder().decode(manifestBytes), origin);
  const read = (file: string): Promise<Uint8Array<ArrayBuffer>> => readVerified(source, manifest, file);

  const codecs = new Map<string, Codec>();
  for (const { id, tables: file } of manifest.codecs) {
    codecs.set(id, await readCodec(manifest, id, file, await read(file), origin));
  }
  const codec = codecs.get(manifest.codecs[0]!.id)!;
  const signature = (): ReturnType<typeof readSignature> => readSignature(source);
  return { manifest, manifestBytes, origin, codec, codecs, read, signature };
}

/**
 * Reads every file of the bundle and checks it.
 * @throws BundleError at the first file that is missing or differs
 */
export async function verifyBundle(bundle: Bundle): Promise<void> {
  for (const file of Object.keys(bundle.manifest.files)) await bundle.read(file);
}

/**
 * Checks that one of `trust` has signed the manifest.
 * @throws BundleError `unsigned`, `signature`, `expired`
 */
export async function checkSignature(
  source: FileSource,
  manifestBytes: Uint8Array<ArrayBuffer>,
  trust: readonly PublicKey[],
): Promise<void> {
  await verifySignature(await readSignature(source), manifestBytes, trust, source.origin);
}

/** `manifest.sig`, where there is one. */
export function readSignature(source: FileSource): Promise<Uint8Array<ArrayBuffer> | undefined> {
  return source.read(SIGNATURE_FILE).catch(() => undefined);
}

/** Bytes of the whole bundle but its manifest. */
export function bundleBytes(manifest: Manifest): number {
  return Object.values(manifest.files).reduce((sum, file) => sum + file.bytes, 0);
}

async function readCodec(
  manifest: Manifest,
  id: string,
  file: string,
  bytes: Uint8Array,
  origin: string,
): Promise<Codec> {
  let codec: Codec;
  try {
    codec = await loadCodec(bytes, manifest.latentSpaceId);
  } catch (cause) {
    throw new BundleError('tables', `${origin}: ${file}: ${(cause as Error).message}`, { cause });
  }
  if (codec.id !== id) {
    throw new BundleError('codec-id', `${origin}: ${file} makes codec ${codec.id}, the manifest says ${id}`);
  }
  const { points, channels } = codec.tables;
  // an older codec, still accepted, may have fewer points; the one that edges write with has all
  const missing = id === manifest.codecs[0]!.id && points < manifest.points.length;
  if (channels !== manifest.latent.channels || points > manifest.points.length || missing) {
    throw new BundleError(
      'tables',
      `${origin}: ${file} has ${points} points x ${channels} channels, ` +
        `the manifest ${manifest.points.length} x ${manifest.latent.channels}`,
    );
  }
  return codec;
}

async function readVerified(
  source: FileSource,
  manifest: Manifest,
  file: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const expected = Object.hasOwn(manifest.files, file) ? manifest.files[file] : undefined;
  if (!expected)
    throw new BundleError('file-missing', `${source.origin}: the manifest lists no file ${file}`);
  const bytes = await source.read(file);
  if (bytes.length !== expected.bytes) {
    throw new BundleError(
      'file-size',
      `${source.origin}/${file} has ${bytes.length} bytes instead of ${expected.bytes}: fetch the bundle again`,
    );
  }
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (sha256 !== expected.sha256) {
    throw new BundleError(
      'file-hash',
      `${source.origin}/${file} was changed (SHA-256 differs): fetch the bundle again`,
    );
  }
  return bytes;
}
