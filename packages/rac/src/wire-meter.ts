import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP relay on loopback that counts what passes. */
export interface WireMeter {
  /** Connect here instead of to the target. */
  readonly address: string;
  /** Bytes since the last `reset`, both directions: TCP payload, so HTTP/2 frames and all inside them. */
  read(): { sent: number; received: number };
  reset(): void;
  close(): void;
}

/** Starts a relay to `port` on 127.0.0.1. */
export async function startWireMeter(port: number): Promise<WireMeter> {
  let sent = 0;
  let received = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const target = connect(port, '127.0.0.1');
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
    client.on('data', (chunk) => (sent += chunk.length));
    target.on('data', (chunk) => (received += chunk.length));
    client.pipe(target);
    target.pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    read: () => ({ sent, received }),
    reset() {
      sent = 0;
      received = 0;
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
