import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The system's own: CHROMIUM_PATH, or the first in PATH. */
export const executable: string | undefined = findChromium();

/** For a suite's title. */
export const where: string =
  executable ?? 'SKIPPED: no Chromium in PATH, and CHROMIUM_PATH does not name one';

function findChromium(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const inPath = names.flatMap((name) => folders.map((folder) => join(folder, name)));
  return [process.env['CHROMIUM_PATH'], ...inPath].find((path) => path !== undefined && existsSync(path));
}
