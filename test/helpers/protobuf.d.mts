export function field(number: number, content: Uint8Array | string): Buffer;
export function varint(number: number, value: number): Buffer;
