import { readFile } from 'node:fs/promises';

/** The token in a file. @throws Error naming the file */
export async function readToken(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Error(`cannot read the token in ${file}: is it there, and yours to read?`, { cause });
  });
  const token = text.trim();
  if (!/^\S+$/.test(token)) throw new Error(`${file} has no token: it must be one line without spaces`);
  return token;
}
