import type { IncomingMessage } from 'node:http';
import { BundleError } from '@raccoon/bundle';
import { CloudError } from './errors.ts';
import { isLoopback, type HttpAnswer, type HttpHandler } from './http.ts';
import { LOG_LEVELS, type Log, type LogLevel } from './log.ts';
import type { ModelStatus } from './repository.ts';
import { sameToken } from './tokens.ts';

/** What admin calls are about. */
export interface Administered {
  readonly repository: {
    status(): readonly ModelStatus[];
    reload(): Promise<readonly ModelStatus[]>;
    load(nameOrPath: string): Promise<readonly ModelStatus[]>;
    unload(name: string, version?: string): Promise<readonly ModelStatus[]>;
  };
  readonly log: Log;
  status(): object;
  /** As SIGTERM does. */
  drain(): void;
}

const MAX_BODY_BYTES = 65_536;

/**
 * Admin calls, JSON over HTTP:
 * `GET /v1/status`, `GET /v1/models`, `POST /v1/models/load {"path"}`, `POST /v1/models/unload {"name", "version"?}`,
 * `POST /v1/models/reload`, `POST /v1/drain`, `GET` and `PUT /v1/log-level {"level"}`.
 * @param token what `authorization: Bearer` must say; absent: whoever reaches this machine's loopback may
 */
export function adminHandler(administered: Administered, token: string | undefined): HttpHandler {
  const { repository, log } = administered;
  const routes: Record<string, (request: IncomingMessage) => HttpAnswer | Promise<HttpAnswer>> = {
    'GET /v1/status': () => ({ status: 200, body: administered.status() }),
    'GET /v1/models': () => models(repository.status()),
    'POST /v1/models/load': async (request) =>
      models(await repository.load((await fields(request, ['path'])).path!)),
    'POST /v1/models/unload': async (request) => {
      const { name, version } = await fields(request, ['name'], ['version']);
      return models(await repository.unload(name!, version));
    },
    'POST /v1/models/reload': async () => models(await repository.reload()),
    'POST /v1/drain': () => {
      administered.drain();
      return { status: 202, body: { state: 'draining' } };
    },
    'GET /v1/log-level': () => ({ status: 200, body: { level: log.level } }),
    'PUT /v1/log-level': async (request) => {
      const { level } = await fields(request, ['level']);
      if (!isLevel(level))
        return { status: 400, body: { error: `level is one of ${LOG_LEVELS.join(', ')}` } };
      log.level = level;
      return { status: 200, body: { level } };
    },
  };
  return async (request, url) => {
    const refused = refuse(request, token);
    if (refused) return refused;
    const call = `${request.method} ${url.pathname}`;
    const route = Object.hasOwn(routes, call) ? routes[call] : undefined;
    if (!route)
      return { status: 404, body: { error: `no ${call}; there is ${Object.keys(routes).join(', ')}` } };
    if (request.method !== 'GET') log.info({ call }, 'admin call');
    try {
      return await route(request);
    } catch (error) {
      return failure(error as Error);
    }
  };
}

function models(list: readonly ModelStatus[]): HttpAnswer {
  return { status: 200, body: { models: list } };
}

function isLevel(level: string | undefined): level is LogLevel {
  return LOG_LEVELS.some((known) => known === level);
}

/** Who may not call, before anything is read. */
function refuse(request: IncomingMessage, token: string | undefined): HttpAnswer | undefined {
  const { authorization, host = '', 'content-type': type = '' } = request.headers;
  if (token !== undefined) {
    const given = /^bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
    return given !== undefined && sameToken(given, token)
      ? undefined
      : { status: 401, body: { error: 'the admin token, please: `authorization: Bearer ...`' } };
  }
  // A page in a browser on this machine reaches loopback, too: by a name that leads here, or without being asked first.
  if (!isLoopback(host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1'))) {
    return {
      status: 403,
      body: { error: `not by the name ${host}: without --admin-token only as localhost` },
    };
  }
  if (request.method !== 'GET' && type.split(';')[0] !== 'application/json') {
    return { status: 415, body: { error: 'send `content-type: application/json`' } };
  }
  return undefined;
}

/** The body's fields, all of them text. @throws CloudError `option` */
async function fields<Name extends string>(
  request: IncomingMessage,
  required: readonly Name[],
  optional: readonly Name[] = [],
): Promise<Partial<Record<Name, string>>> {
  const value = await json(request);
  const known: readonly string[] = [...required, ...optional];
  for (const [name, content] of Object.entries(value)) {
    if (!known.includes(name))
      throw new CloudError('option', `nobody knows "${name}"; there is ${known.join(', ')}`);
    if (typeof content !== 'string') throw new CloudError('option', `"${name}" must be text`);
  }
  for (const name of required) {
    if (!Object.hasOwn(value, name)) throw new CloudError('option', `the body needs {"${name}": "..."}`);
  }
  return value;
}

async function json(request: IncomingMessage): Promise<object> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new CloudError('option', `a body has at most ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch {
    // said below
  }
  throw new CloudError('option', 'the body must be a JSON object');
}

function failure(error: Error): HttpAnswer {
  const code = error instanceof CloudError || error instanceof BundleError ? error.code : 'internal';
  const status = code === 'option' ? 400 : code === 'no-bundle' || code === 'not-found' ? 404 : 409;
  return { status, body: { error: error.message, code } };
}
