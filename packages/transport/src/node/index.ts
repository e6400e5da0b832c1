export { connectGrpc } from './client.ts';
export type { GrpcClientOptions } from './client.ts';
export { serveGrpc } from './server.ts';
export type { GrpcServer, GrpcServerOptions } from './server.ts';
