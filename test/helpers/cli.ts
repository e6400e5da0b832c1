import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished } from 'vitest';
import { built, root } from './paths.ts';

/** How a command ended. */
export interface Ended {
  /** Exit code; null when a signal ended it. */
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Running {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly ended: Promise<Ended>;
  /** Resolves with stdout so far once it matches; rejects when the command ends first. */
  printed(pattern: RegExp): Promise<string>;
}

/** Starts the built `raccoon` in a process of its own, which does not outlive the test. */
export function start(args: readonly string[], cwd: string = root): Running {
  const program = built('packages/cli/bin/raccoon.js');
  built('packages/cli/dist/main.js');
  const child = spawn(process.execPath, [program, ...args], { cwd, stdio: 'pipe' });
  onTestFinished(() => void child.kill('SIGKILL'));
  child.stdin.on('error', () => undefined); // a command that does not read it
  let seen = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (seen += chunk));
  const closed = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const stderr = text(child.stderr);
  const ended = closed.then(async (code) => ({ code, stdout: seen, stderr: await stderr }));
  const printed = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const check = (): void => {
        if (pattern.test(seen)) resolve(seen);
      };
      check();
      child.stdout.on('data', check);
      ended.then((end) => reject(new Error(`it ended and did not print ${pattern}: ${end.stderr}`)), reject);
    });
  return { child, ended, printed };
}

/** Runs the built `raccoon` to its end. */
export function raccoon(args: readonly string[], cwd?: string): Promise<Ended> {
  const { child, ended } = start(args, cwd);
  child.stdin.end();
  return ended;
}

/** Starts `raccoon cloud` on a free port and waits until it listens. */
export async function startCloud(...args: string[]): Promise<Running & { address: string }> {
  const cloud = start(['cloud', '--listen', '127.0.0.1:0', '--workers', '1', ...args]);
  const [, address] = / on (127\.0\.0\.1:[1-9]\d*), 1 worker\./.exec(await cloud.printed(/\n/))!;
  return { ...cloud, address: address! };
}

/** Exit code 1, and one line on stderr that says why. */
export function expectFailure(ended: Ended, why: RegExp | string): void {
  expect(lines(ended.stderr)).toEqual([expect.stringMatching(why)]);
  expect(ended.stderr).toMatch(/^raccoon: .*\n$/);
  expect(ended.code).toBe(1);
}

/** Exit code 0 and a silent stderr. */
export function expectSuccess(ended: Ended): void {
  expect(ended.stderr).toBe('');
  expect(ended.code).toBe(0);
}

export function lines(output: string): string[] {
  return output.split('\n').filter((line) => line !== '');
}
