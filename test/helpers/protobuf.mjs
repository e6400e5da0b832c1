// Protobuf messages as bytes, field by field: for the few that the tests make themselves.

/** A field with bytes or text. */
export function field(number, content) {
  const bytes = Buffer.from(content);
  return Buffer.concat([leb128((number << 3) | 2), leb128(bytes.length), bytes]);
}

/** A field with a whole number, 0 or more. */
export function varint(number, value) {
  return Buffer.concat([leb128(number << 3), leb128(value)]);
}

function leb128(value) {
  const bytes = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
  return Buffer.from([...bytes, value]);
}
