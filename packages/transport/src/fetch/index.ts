export { connectFetch } from './client.ts';
export type { FetchOptions, FetchTransport } from './client.ts';
