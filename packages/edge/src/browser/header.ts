import type { Size } from '../common/size.ts';

/**
 * What an encoded photo's header says of its size, before anything is decoded: a small file may hold more pixels than a tab
 * has memory for. JPEG, PNG, GIF and WebP; undefined for what is none of these, or damaged, which a decoder then says.
 */
export function declaredSize(file: Uint8Array): Size | undefined {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const is = (text: string, at = 0): boolean =>
    String.fromCharCode(...file.subarray(at, at + text.length)) === text;
  try {
    if (is('\x89PNG')) return { width: view.getUint32(16), height: view.getUint32(20) };
    if (is('GIF8')) return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
    if (is('\xff\xd8')) return jpegSize(view);
    if (is('RIFF') && is('WEBP', 8)) return webpSize(view, is);
  } catch {
    return undefined; // it is cut off
  }
  return undefined;
}

/** In the first segment that starts a frame: ITU T.81, B.2.2. @throws RangeError */
function jpegSize(view: DataView): Size | undefined {
  for (let at = 2; view.getUint8(at) === 0xff; at += 2 + view.getUint16(at + 2)) {
    while (view.getUint8(at + 1) === 0xff) at++; // fill bytes
    const marker = view.getUint8(at + 1);
    // SOF0 to SOF15; among these DHT, JPG and DAC are something else
    const startsFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (startsFrame) return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
  }
  return undefined;
}

/** RFC 9649. @throws RangeError */
function webpSize(view: DataView, is: (text: string, at: number) => boolean): Size | undefined {
  const low = (at: number, bits: number): number => view.getUint32(at, true) & (2 ** bits - 1);
  if (is('VP8X', 12)) return { width: low(24, 24) + 1, height: (view.getUint32(26, true) >>> 8) + 1 };
  if (is('VP8L', 12))
    return { width: low(21, 14) + 1, height: ((view.getUint32(21, true) >>> 14) & 0x3fff) + 1 };
  if (is('VP8 ', 12)) return { width: low(26, 14), height: view.getUint16(28, true) & 0x3fff };
  return undefined;
}
