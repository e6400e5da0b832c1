export { connectGrpc } from './client.ts';
export type { GrpcClientOptions } from './client.ts';
export type { Authenticate, Credentials } from './gate.ts';
export type { HealthStatus } from './health.ts';
export type { ListenerLimits } from './listener.ts';
export { serveGrpc } from './server.ts';
export type { GrpcServer, GrpcServerOptions } from './server.ts';
export type { ClientTls, ServerTls } from './tls.ts';
