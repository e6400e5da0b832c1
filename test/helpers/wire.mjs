// Raccoon's messages and gRPC's framing as bytes (proto/raccoon/v1/raccoon.proto), for clients that keep no rules.
import { connect, constants } from 'node:http2';
import { field, varint } from './protobuf.mjs';

export const PATH = '/raccoon.v1.Raccoon/Infer';

/** ClientMessage { hello }. */
export function helloBytes() {
  return field(3, Buffer.concat([varint(1, 1), varint(2, 1), field(4, 'hostile')]));
}

/** ClientMessage { request }. */
export function requestBytes(id, payload, { wantLogits = false } = {}) {
  return field(1, inferRequestBytes(id, payload, { wantLogits }));
}

export function inferRequestBytes(id, payload, { wantLogits = false } = {}) {
  return Buffer.concat([varint(1, id), field(2, payload), ...(wantLogits ? [varint(5, 1)] : [])]);
}

/** A message in gRPC's frame: not compressed, and its length. */
export function framed(bytes) {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** An HTTP/2 session whose errors, and those of its streams, are nobody's concern. */
export function openSession(address, settings = {}) {
  // a limit on what we send, in MB: Node would break off a message that the cloud should refuse
  const session = connect(`http://${address}`, { settings, maxSessionMemory: 1000 });
  session.on('error', () => undefined);
  return session;
}

export function openStream(session, path = PATH) {
  const stream = session.request({
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: path,
    [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
    [constants.HTTP2_HEADER_TE]: 'trailers',
  });
  stream.on('error', () => undefined);
  return stream;
}
