import type { HttpHandler } from './http.ts';

/** What the listener for metrics and probes shows. */
export interface Probed {
  /** Prometheus' text. */
  metrics(): Promise<string>;
  /** Undefined when requests are served; else why not. */
  notReady(): string | undefined;
}

/** `GET /metrics`; `/healthz`: the process lives; `/readyz`: requests are served. */
export function probeHandler(probed: Probed): HttpHandler {
  return async (request, url) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') return { status: 405, body: 'only GET\n' };
    switch (url.pathname) {
      case '/metrics':
        return {
          status: 200,
          body: await probed.metrics(),
          contentType: 'text/plain; version=0.0.4; charset=utf-8',
        };
      case '/healthz':
        return { status: 200, body: 'ok\n' };
      case '/readyz': {
        const why = probed.notReady();
        return why === undefined ? { status: 200, body: 'ok\n' } : { status: 503, body: `${why}\n` };
      }
      default:
        return { status: 404, body: 'there is /metrics, /healthz and /readyz\n' };
    }
  };
}
