export { WebError, type WebErrorCode } from './errors.ts';
export { openPage, SITE, type PageHandler } from './serve.ts';
