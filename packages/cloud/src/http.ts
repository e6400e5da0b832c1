import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CloudError } from './errors.ts';

/** A request's answer; an object is sent as JSON. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: string | object;
  readonly contentType?: string;
}

export type HttpHandler = (request: IncomingMessage, url: URL) => HttpAnswer | Promise<HttpAnswer>;

export interface HttpListener {
  /** `host:port`, with the port that was taken. */
  readonly address: string;
  close(): void;
}

/** Where something listens: `host:port`; a port alone is this machine's. @throws CloudError `option` */
export function parseAddress(flag: string, text: string): { host: string; port: number } {
  const [, host, port] = /^(?:(.+):)?(\d+)$/.exec(text) ?? [];
  if (port === undefined || Number(port) > 65_535) {
    throw new CloudError('option', `${flag} takes a port or host:port, not "${text}"`);
  }
  return { host: host?.replace(/^\[(.*)\]$/, '$1') ?? '127.0.0.1', port: Number(port) };
}

/** Whether only this machine can reach what listens there. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** @throws CloudError `address` */
export function listenHttp(flag: string, text: string, handler: HttpHandler): Promise<HttpListener> {
  const { host, port } = parseAddress(flag, text);
  const server = createServer((request, response) => void respond(handler, request, response));
  server.keepAliveTimeout = 5000;
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new CloudError(
          'address',
          `${flag}: cannot listen on ${host}:${port}: ${cause.message} - is the port taken?`,
          {
            cause,
          },
        ),
      ),
    );
    server.listen(port, host, () =>
      resolve({ address: addressOf(server, host), close: () => close(server) }),
    );
  });
}

function addressOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo; // a socket of the network always has one
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function close(server: Server): void {
  server.close();
  server.closeAllConnections();
}

async function respond(
  handler: HttpHandler,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let answer: HttpAnswer;
  try {
    answer = await handler(request, new URL(request.url ?? '/', 'http://localhost'));
  } catch (error) {
    answer = { status: 500, body: { error: (error as Error).message } };
  }
  const { status, body, contentType } = answer;
  const text = typeof body === 'string' ? body : `${JSON.stringify(body, undefined, 1)}\n`;
  const type = contentType ?? (typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json');
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) }).end(text);
}
