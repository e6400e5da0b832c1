import type { GRPCInferenceServiceDefinition } from '../generated/inference/GRPCInferenceService.ts';
import { packageDefinition } from '../wire.ts';

/** The methods of proto/inference, and how their messages go to the wire and back. */
// The generated types describe this very service.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
export const oipMethods: GRPCInferenceServiceDefinition = packageDefinition[
  'inference.GRPCInferenceService'
] as unknown as GRPCInferenceServiceDefinition;

/** Elements of BYTES from their raw form: each its length (uint32) and its bytes. Undefined: they do not fill it exactly. */
export function readElements(raw: Uint8Array): Uint8Array[] | undefined {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const elements: Uint8Array[] = [];
  let at = 0;
  while (at < raw.length) {
    if (raw.length - at < 4) return undefined;
    const end = at + 4 + view.getUint32(at, true);
    if (end > raw.length) return undefined;
    elements.push(raw.subarray(at + 4, end));
    at = end;
  }
  return elements;
}

/** Numbers in their raw form; this machine and the protocol are little-endian. */
export function rawOf({ buffer, byteOffset, byteLength }: Float32Array | Int32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
