import type { Bundle } from '@raccoon/bundle';

export const TINY: string;
/** @returns its path */
export function writeTinyBundle(
  parent: string,
  options?: { version?: string; scale?: number; folder?: string },
): Promise<string>;
export function tinyPayloads(bundle: Bundle, count: number, seed?: number): Uint8Array[];
