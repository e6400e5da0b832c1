import { photos } from '@raccoon/client/sources';

/** Paths as given, folders and patterns replaced by the photos in them. @throws ClientError */
export async function photoFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for await (const file of photos(paths)) files.push(file);
  return files;
}
