export interface Lock {
  readonly messages: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly services: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** A protobufjs `Root`. */
export type Root = object;

export const protoDir: string;
export const lockFile: string;
export const generatedDir: string;
export function filesBelow(dir: string): string[];
export function parse(sources: readonly string[], options?: { keepCase?: boolean }): Root;
export function readSources(dir?: string): string[];
export function describe(root: Root): Lock;
export function breakingChanges(lock: Lock, root: Root): string[];
export function nextLock(lock: Lock, root: Root): Lock;
export function renderDescriptor(root: Root): string;
export function writeTypes(outDir: string, dir?: string): void;
