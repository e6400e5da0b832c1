import { readFile } from 'node:fs/promises';
import { CodecError, readRac } from '@raccoon/codec';

/** The slices of a `.rac` file. @throws Error that names the file */
export async function readRacFile(file: string): Promise<Uint8Array[]> {
  const bytes = new Uint8Array(await readFile(file));
  return about(file, () => readRac(bytes));
}

/** Runs `work` on a file's bytes; what is wrong with them is said of the file. */
export function about<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    throw new Error(`${file}: ${error.message}`, { cause: error });
  }
}
