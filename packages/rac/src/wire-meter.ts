import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP relay on loopback that counts what passes. */
export interface WireMeter {
  /** Connect here instead of to the target. */
  readonly address: string;
  /**
   * Bytes since the last `reset`, both directions: TCP payload, so HTTP/2 frames and all inside them. `sentData` is
   * the part of `sent` inside DATA frames: gRPC's messages with their prefixes.
   */
  read(): { sent: number; sentData: number; received: number };
  reset(): void;
  close(): void;
}

/** Starts a relay. @param to `host:port`, or a port of 127.0.0.1 */
export async function startWireMeter(to: number | string): Promise<WireMeter> {
  const [, host = '127.0.0.1', port = to] = /^\[?(.+?)\]?:(\d+)$/.exec(String(to)) ?? [];
  let sent = 0;
  let sentData = 0;
  let received = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const target = connect(Number(port), host);
    const ends = [client, target] as const;
    for (const socket of ends) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => ends.forEach((end) => end.destroy()));
      socket.on('close', () => {
        sockets.delete(socket);
        ends.forEach((end) => end.destroy());
      });
    }
    const readFrames = frameReader((length) => (sentData += length));
    client.on('data', (chunk: Buffer) => {
      sent += chunk.length;
      readFrames(chunk);
    });
    target.on('data', (chunk) => (received += chunk.length));
    client.pipe(target);
    target.pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    read: () => ({ sent, sentData, received }),
    reset() {
      sent = 0;
      sentData = 0;
      received = 0;
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

const PREFACE_BYTES = 24; // RFC 9113, section 3.4
const FRAME_HEADER_BYTES = 9; // section 4.1: length (3), type (1), flags (1), stream (4)
const DATA = 0;

/** Reads what an HTTP/2 client sends, cut anywhere, and tells the length of each DATA frame without its header. */
function frameReader(onData: (length: number) => void): (chunk: Buffer) => void {
  let skip = PREFACE_BYTES;
  const header: number[] = [];
  return (chunk) => {
    let at = 0;
    while (at < chunk.length) {
      if (skip > 0) {
        const skipped = Math.min(skip, chunk.length - at);
        at += skipped;
        skip -= skipped;
        continue;
      }
      header.push(chunk[at++]!);
      if (header.length < FRAME_HEADER_BYTES) continue;
      skip = (header[0]! << 16) | (header[1]! << 8) | header[2]!;
      if (header[3] === DATA) onData(skip);
      header.length = 0;
    }
  };
}
