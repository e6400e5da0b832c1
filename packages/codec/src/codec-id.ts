import { CodecError } from './errors.ts';

/**
 * The codec id: the first 6 bytes of SHA-256(latent space id ++ tables.bin) as 12 hexadecimal characters.
 * Two ends with one id code with the same integers and mean the same latents by them.
 *
 * `latentSpaceId`: 16 bytes as 32 lower-case hexadecimal characters, made once per training run.
 * Throws `CodecError` 'latent-space-id'.
 */
export async function codecId(tablesBin: Uint8Array, latentSpaceId: string): Promise<string> {
  if (!/^[0-9a-f]{32}$/.test(latentSpaceId)) {
    throw new CodecError(
      'latent-space-id',
      `latent space id '${latentSpaceId}' is not 32 lower-case hex characters`,
    );
  }
  const hashed = new Uint8Array(16 + tablesBin.length);
  hashed.set(fromHex(latentSpaceId));
  hashed.set(tablesBin, 16);
  const digest = await globalThis.crypto.subtle.digest('SHA-256', hashed);
  return toHex(new Uint8Array(digest, 0, 6));
}

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Bytes to lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += HEX[byte]!;
  return text;
}

/** Hexadecimal to bytes; the text has an even number of hexadecimal characters. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: text.length / 2 }, (_, i) =>
    Number.parseInt(text.slice(2 * i, 2 * i + 2), 16),
  );
}
