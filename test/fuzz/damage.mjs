const ODD_BYTES = [0x00, 0x01, 0x7f, 0x80, 0xff];

/** One to three things done to bytes: the result is another array. */
export function damaged(bytes, random) {
  let result = bytes;
  for (let times = random.once(3) ? 1 + random.below(3) : 1; times > 0; times--)
    result = once(result, random);
  return result;
}

/** Bytes of no meaning. */
export function noise(random) {
  const bytes = Uint8Array.from({ length: random.below(40) }, () => random.uint32());
  // a state that a stream can begin with, so that the rest is looked at too
  if (bytes.length > 0 && random.once(2)) bytes[bytes.length - 1] = 1 + random.below(127);
  return bytes;
}

function once(bytes, random) {
  const { length } = bytes;
  const at = random.below(length + 1);
  if (length === 0) return noise(random);
  switch (random.below(12)) {
    case 0:
    case 1:
      return changed(bytes, at % length, (byte) => byte ^ (1 << random.below(8)));
    case 2:
      return changed(bytes, at % length, () => random.below(256));
    case 3:
      return changed(bytes, at % length, () => random.pick(ODD_BYTES));
    case 4: // a state or a count: the last bytes
      return changed(bytes, length - 1 - random.below(Math.min(16, length)), () => random.below(256));
    case 5:
      return swapped(bytes, at % length, random.below(length));
    case 6:
      return bytes.slice(at);
    case 7:
      return bytes.slice(0, at);
    case 8:
      return joined(bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(8)));
    case 9:
      return joined(bytes.subarray(0, at), noise(random), bytes.subarray(at));
    case 10: // a part once more
      return joined(bytes.subarray(0, at), bytes.subarray(random.below(length)));
    default:
      return random.once(2) ? joined(noise(random), bytes) : joined(bytes, noise(random));
  }
}

function changed(bytes, at, change) {
  const result = bytes.slice();
  result[at] = change(bytes[at]);
  return result;
}

function swapped(bytes, a, b) {
  const result = bytes.slice();
  [result[a], result[b]] = [bytes[b], bytes[a]];
  return result;
}

function joined(...parts) {
  const result = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
