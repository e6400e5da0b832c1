import { codecId } from './codec-id.ts';
import { parseTables } from './tables.ts';
import type { CodecTables } from './tables.ts';

/** What both ends of a bitstream share: the tables, under the id that a bitstream names them by. */
export interface Codec {
  /** 12 hexadecimal characters. */
  readonly id: string;
  readonly tables: CodecTables;
}

/** The codec of a `tables.bin` and a latent space. Throws `CodecError`. */
export async function loadCodec(tablesBin: Uint8Array, latentSpaceId: string): Promise<Codec> {
  return { id: await codecId(tablesBin, latentSpaceId), tables: parseTables(tablesBin) };
}
