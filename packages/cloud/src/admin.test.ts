import { request as httpRequest } from 'node:http';
import { json } from 'node:stream/consumers';
import { BundleError } from '@raccoon/bundle';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { adminHandler, type Administered } from './admin.ts';
import { CloudError } from './errors.ts';
import { isLoopback, listenHttp, parseAddress } from './http.ts';
import { createLog } from './log.ts';
import { probeHandler } from './probes.ts';
import type { ModelStatus } from './repository.ts';

const TOKEN = 'rac_0123456789abcdef';
const model: ModelStatus = {
  name: 'small',
  version: '0.1.0',
  state: 'ready',
  loaded: true,
  origin: '/models/small',
  codecs: ['0123456789ab'],
};

async function serve(token?: string) {
  const repository = {
    status: () => [model],
    reload: vi.fn(() => Promise.resolve([model])),
    load: vi.fn((path: string) =>
      path === 'broken'
        ? Promise.reject(new BundleError('file-hash', 'broken/decoder.onnx was changed'))
        : Promise.resolve([model]),
    ),
    unload: vi.fn((name: string, _version?: string) =>
      name === 'nobody'
        ? Promise.reject(new CloudError('no-bundle', 'there is no nobody to unload'))
        : Promise.resolve([]),
    ),
  };
  const log = createLog('info', { write: () => undefined });
  const drain = vi.fn();
  const administered: Administered = { repository, log, status: () => ({ phase: 'serving' }), drain };
  const listener = await listenHttp('--admin-port', '0', adminHandler(administered, token));
  onTestFinished(() => listener.close());
  const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const answer = await fetch(`http://${listener.address}${path}`, {
      method,
      headers: { ...(method !== 'GET' && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  return { repository, log, drain, call, listener };
}

test('what there is to ask', async () => {
  const { call, repository, drain, log } = await serve();
  expect(await call('GET', '/v1/status')).toEqual({ status: 200, body: { phase: 'serving' } });
  expect(await call('GET', '/v1/models')).toEqual({ status: 200, body: { models: [model] } });
  expect(await call('POST', '/v1/models/reload')).toMatchObject({ status: 200 });
  expect(await call('POST', '/v1/models/load', { path: 'models/x' })).toMatchObject({ status: 200 });
  expect(repository.load).toHaveBeenCalledWith('models/x');
  await call('POST', '/v1/models/unload', { name: 'small', version: '0.1.0' });
  expect(repository.unload).toHaveBeenLastCalledWith('small', '0.1.0');
  await call('POST', '/v1/models/unload', { name: 'small' });
  expect(repository.unload).toHaveBeenLastCalledWith('small', undefined);
  expect(await call('GET', '/v1/log-level')).toEqual({ status: 200, body: { level: 'info' } });
  expect(await call('PUT', '/v1/log-level', { level: 'debug' })).toMatchObject({ status: 200 });
  expect(log.level).toBe('debug');
  expect(await call('POST', '/v1/drain')).toMatchObject({ status: 202 });
  expect(drain).toHaveBeenCalledTimes(1);
});

describe('what is wrong', () => {
  test.each([
    ['GET', '/', undefined, 404, '/v1/models'],
    ['GET', '/v1/drain', undefined, 404, 'POST /v1/drain'],
    ['POST', '/v1/models/load', {}, 400, '"path"'],
    ['POST', '/v1/models/load', { path: 7 }, 400, 'text'],
    ['POST', '/v1/models/load', { path: 'x', force: 'yes' }, 400, 'nobody knows "force"'],
    ['POST', '/v1/models/load', '[]', 400, 'JSON object'],
    ['POST', '/v1/models/load', '{', 400, 'JSON object'],
    ['POST', '/v1/models/load', `"${'x'.repeat(70_000)}"`, 400, '65536'],
    ['PUT', '/v1/log-level', { level: 'loud' }, 400, 'silent, error'],
    ['POST', '/v1/models/load', { path: 'broken' }, 409, 'decoder.onnx was changed'],
    ['POST', '/v1/models/unload', { name: 'nobody' }, 404, 'nobody'],
  ])('%s %s', async (method, path, body, status, why) => {
    const { call } = await serve();
    const answer = await call(method, path, body);
    expect(answer.status).toBe(status);
    expect(answer.body['error']).toContain(why);
  });
});

test('with a token, only with it', async () => {
  const { call, drain } = await serve(TOKEN);
  for (const authorization of ['', `Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(0, -1)}`, TOKEN, 'Bearer']) {
    expect((await call('POST', '/v1/drain', undefined, { authorization })).status).toBe(401);
  }
  expect(drain).not.toHaveBeenCalled();
  expect((await call('POST', '/v1/drain', undefined, { authorization: `Bearer ${TOKEN}` })).status).toBe(202);
});

test('without one, no page in a browser on this machine gets through', async () => {
  const { call, drain, listener } = await serve();
  expect((await call('POST', '/v1/drain', undefined, { 'content-type': 'text/plain' })).status).toBe(415);
  // a name of somebody else's that leads to 127.0.0.1
  const [host, port] = listener.address.split(':');
  const rebound = await new Promise<unknown>((resolve, reject) => {
    httpRequest({ host, port, path: '/v1/models', headers: { host: `evil.example:${port}` } }, (answer) => {
      json(answer).then(resolve, reject);
    }).end();
  });
  expect(rebound).toEqual({ error: expect.stringContaining('evil.example') });
  expect(drain).not.toHaveBeenCalled();
});

test('metrics and probes', async () => {
  let why: string | undefined = 'starting';
  const listener = await listenHttp(
    '--metrics-port',
    '127.0.0.1:0',
    probeHandler({ metrics: () => Promise.resolve('x 1\n'), notReady: () => why }),
  );
  onTestFinished(() => listener.close());
  const get = async (path: string, method = 'GET'): Promise<[number, string]> => {
    const answer = await fetch(`http://${listener.address}${path}`, { method });
    return [answer.status, await answer.text()];
  };
  expect(await get('/healthz')).toEqual([200, 'ok\n']);
  expect(await get('/readyz')).toEqual([503, 'starting\n']);
  why = undefined;
  expect(await get('/readyz')).toEqual([200, 'ok\n']);
  expect(await get('/metrics')).toEqual([200, 'x 1\n']);
  expect((await get('/'))[0]).toBe(404);
  expect((await get('/metrics', 'POST'))[0]).toBe(405);
});

test('addresses', async () => {
  expect(parseAddress('--x', '9090')).toEqual({ host: '127.0.0.1', port: 9090 });
  expect(parseAddress('--x', '0.0.0.0:1')).toEqual({ host: '0.0.0.0', port: 1 });
  expect(parseAddress('--x', '[::1]:1')).toEqual({ host: '::1', port: 1 });
  for (const text of ['', 'here', ':1', '1.2.3.4:', '70000', '-1']) {
    expect(() => parseAddress('--metrics-port', text)).toThrow('--metrics-port takes a port or host:port');
  }
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) expect(isLoopback(host)).toBe(true);
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'localhost.example']) expect(isLoopback(host)).toBe(false);
  const { listener } = await serve();
  await expect(
    listenHttp('--admin-port', listener.address, () => ({ status: 200, body: '' })),
  ).rejects.toMatchObject({
    code: 'address',
    message: expect.stringMatching(/--admin-port.*taken/),
  });
});
