import { createPublicKey, verify } from 'node:crypto';
import { expect, test } from 'vitest';
import { checkSignature } from './bundle.ts';
import { generateKeys, readPublicKey, signManifest, SIGNATURE_FILE, verifySignature } from './signature.ts';
import type { FileSource } from './source.ts';

// RFC 8032, 7.1, test 2
const PRIVATE = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7
-----END PRIVATE KEY-----
`;
const PUBLIC = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=
-----END PUBLIC KEY-----
`;
const RFC_SIGNATURE =
  '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00';
/** Made with `openssl pkeyutl -sign -rawin`. */
const MANIFEST = '{"format":"raccoon-bundle"}\n';
const MANIFEST_SIGNATURE =
  'd415c8cd68b021a5f857414ffc9677a08724dcf97ee2013e27f64ebaa57e339e5f7bba54844ab7feb2b5de2945f5496a9782fc62654118e96cac9f872926760e';

const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
const hex = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(Buffer.from(text, 'hex'));

/** A bundle's folder, of which only the signature is read. */
function source(signature: Uint8Array<ArrayBuffer> | undefined): FileSource {
  return {
    origin: 'here',
    read: (file) =>
      signature && file === SIGNATURE_FILE ? Promise.resolve(signature) : Promise.reject(new Error(file)),
  };
}

test("the signature is ed25519's, byte for byte", async () => {
  expect(await signManifest(hex('72'), PRIVATE, 'key')).toEqual(hex(RFC_SIGNATURE));
  expect(await signManifest(bytes(MANIFEST), PRIVATE, 'key')).toEqual(hex(MANIFEST_SIGNATURE));
  const key = await readPublicKey(PUBLIC, 'key');
  expect(key.id).toBe('deb2ded39dc26fce');
  expect(await key.verify(bytes(MANIFEST), hex(MANIFEST_SIGNATURE))).toBe(true);
});

test('a new pair signs what others can check', async () => {
  const { publicKey, privateKey } = await generateKeys();
  const signature = await signManifest(bytes(MANIFEST), privateKey, 'key');
  expect(verify(null, Buffer.from(MANIFEST), createPublicKey(publicKey), signature)).toBe(true);
  const keys = [await readPublicKey(PUBLIC, 'old'), await readPublicKey(publicKey, 'new')];
  await checkSignature(source(signature), bytes(MANIFEST), keys); // any of them
});

test('unsigned', async () => {
  const key = await readPublicKey(PUBLIC, 'key');
  await expect(checkSignature(source(undefined), bytes(MANIFEST), [key])).rejects.toMatchObject({
    code: 'unsigned',
    message: expect.stringContaining('raccoon bundle sign'),
  });
});

test.each([
  ['another manifest', '{"format":"raccoon-bundlf"}\n', MANIFEST_SIGNATURE],
  ['a bit of it', MANIFEST, MANIFEST_SIGNATURE.replace(/^d4/, 'd5')],
  ["another key's", MANIFEST, '00'.repeat(64)],
  ['cut short', MANIFEST, MANIFEST_SIGNATURE.slice(2)],
  ['nothing', MANIFEST, ''],
  ['one byte too long', MANIFEST, `${MANIFEST_SIGNATURE}00`],
])('signature: %s', async (_, manifest, signature) => {
  const key = await readPublicKey(PUBLIC, 'key');
  await expect(checkSignature(source(hex(signature)), bytes(manifest), [key])).rejects.toMatchObject({
    code: 'signature',
    message: expect.stringContaining('deb2ded39dc26fce'),
  });
});

test.each([
  ['not PEM', 'dear diary'],
  ['the private half', PRIVATE],
  ['not base64', '-----BEGIN PUBLIC KEY-----\nM===C\n-----END PUBLIC KEY-----'],
  ['not a key', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----'],
])('key: %s', async (_, pem) => {
  await expect(readPublicKey(pem, 'the.pub')).rejects.toMatchObject({
    code: 'key',
    message: expect.stringMatching(/^the\.pub .*raccoon bundle keygen/),
  });
  await expect(signManifest(bytes(''), pem.replaceAll('PRIVATE', 'X'), 'a.key')).rejects.toMatchObject({
    code: 'key',
  });
});

test('expired: a signature with an end is good until then, and its end cannot be moved', async () => {
  const key = await readPublicKey(PUBLIC, 'key');
  const signature = await signManifest(bytes(MANIFEST), PRIVATE, 'key', new Date('2027-01-01T00:00:00Z'));
  expect(signature).toHaveLength(72);
  expect(Buffer.from(signature.subarray(64)).toString('hex')).toBe('000000006b36ec80'); // 1,798,761,600 s
  const check = (file: Uint8Array<ArrayBuffer>, now: string): Promise<void> =>
    verifySignature(file, bytes(MANIFEST), [key], 'here', new Date(now));
  await check(signature, '2026-12-31T23:59:59Z');
  await expect(check(signature, '2027-01-01T00:00:00Z')).rejects.toMatchObject({
    code: 'expired',
    message: expect.stringContaining('2027-01-01T00:00:00.000Z'),
  });
  await check(signature, '1970-01-01T00:00:00Z'); // a clock that was never set
  const moved = Uint8Array.from(signature);
  moved[68]! ^= 0x40;
  await expect(check(moved, '2026-01-01T00:00:00Z')).rejects.toMatchObject({ code: 'signature' });
  await expect(check(signature.slice(0, 64), '2026-01-01T00:00:00Z')).rejects.toMatchObject({
    code: 'signature',
  });
});
