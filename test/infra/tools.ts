import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

// Programs that check infra/ and are no npm packages. Where one is missing its tests are skipped, loudly.

const REMEDIES = {
  haproxy: 'apt-get install haproxy',
  promtool: 'apt-get install prometheus',
  helm: 'node test/infra/make-tools.mjs',
  kubeconform: 'node test/infra/make-tools.mjs',
  envoy: 'node test/infra/make-tools.mjs',
  hadolint: 'node test/infra/make-tools.mjs',
} as const;

export type ToolName = keyof typeof REMEDIES;

const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'raccoon/tools');
const folders = [join(cache, 'bin'), ...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];

/** For kubeconform; made with it. */
export const schemas: string = join(cache, 'schemas-1.36.3');

/** A program's path; undefined, and a line on the console, where there is none. */
export function tool(name: ToolName): string | undefined {
  const path = folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
  if (path === undefined) console.warn(`!!! ${name} is missing, so what it checks is not: ${REMEDIES[name]}`);
  return path;
}

/** For a test's name: what it was skipped for. */
export function missing(name: ToolName, path: string | undefined): string {
  return path === undefined ? ` (SKIPPED: ${name} is missing, ${REMEDIES[name]})` : '';
}

const execute = promisify(execFile);

/** Both outputs of a program that must succeed. */
export async function run(
  program: string,
  args: readonly string[],
  settings: { readonly cwd?: string; readonly env?: Record<string, string> } = {},
): Promise<string> {
  const { cwd, env } = settings;
  try {
    const { stdout, stderr } = await execute(program, args, {
      maxBuffer: 2 ** 26,
      ...(cwd !== undefined && { cwd }),
      ...(env && { env: { ...process.env, ...env } }),
    });
    return stdout + stderr;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${program} ${args.join(' ')} failed:\n${stdout}${stderr}`, { cause: error });
  }
}
