export interface DirectionSettings {
  latencyMs?: number;
  jitterMs?: number;
  bytesPerSecond?: number;
  bufferBytes?: number;
  loss?: number;
  blackout?: boolean;
}
export interface LinkChanges {
  up?: DirectionSettings;
  down?: DirectionSettings;
}
export interface EmulatedLink {
  readonly address: string;
  readonly bytes: { readonly up: number; readonly down: number };
  set(changes: LinkChanges): void;
  cut(): void;
  close(): Promise<void>;
}
export function startLink(
  port: number,
  settings?: LinkChanges & { schedule?: ({ at: number } & LinkChanges)[]; seed?: number },
): Promise<EmulatedLink>;
export function sentAgainAt(blockedAt: number, backAt: number, latencyMs: number): number;
