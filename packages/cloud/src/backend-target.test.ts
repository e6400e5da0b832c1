import type { Manifest } from '@raccoon/bundle';
import { expect, test } from 'vitest';
import { parseBackend, remoteModel } from './backend-target.ts';

// What a test names of a manifest.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const manifest = { name: 'small', version: '0.3.0', classes: [{}, {}, {}] } as unknown as Manifest;

test.each([
  ['oip://127.0.0.1:8001', '127.0.0.1:8001', false, 'small'],
  ['oip://localhost:8001/', 'localhost:8001', false, 'small'],
  ['oip://[::1]:8001/resnet', '[::1]:8001', false, 'resnet'],
  ['oips://triton.example:443/{name}-v{version}', 'triton.example:443', true, 'small-v0.3.0'],
  ['oips://triton.example:443/a%2Fb', 'triton.example:443', true, 'a/b'],
])('%s', (url, address, secure, model) => {
  const target = parseBackend(url, undefined, false);
  expect(target).toMatchObject({ address });
  expect(target.tls !== undefined).toBe(secure);
  expect(remoteModel(target, manifest, 7)).toMatchObject({ address, model, timeoutMs: 7, classes: 3 });
});

test('another machine without TLS only on purpose', () => {
  const url = 'oip://triton:8001';
  expect(() => parseBackend(url, undefined, false)).toThrow(
    expect.objectContaining({ code: 'insecure', message: expect.stringContaining('oips://, or --insecure') }),
  );
  expect(parseBackend(url, undefined, true)).toEqual({ address: 'triton:8001', model: '{name}' });
});

test.each([
  ['triton:8001', undefined, '--backend takes oip://host:port/model'],
  ['http://triton:8001', undefined, '--backend takes'],
  ['oip://triton', undefined, '--backend takes'],
  ['oip://triton:x', undefined, '--backend takes'],
  ['oip://a:1/b/c', undefined, '--backend takes'],
  ['oip://user@a:1', undefined, '--backend takes'],
  ['oip://localhost:1', 'ca.pem', '--backend-ca is for TLS'],
])('%s with %s is refused', (url, ca, message) => {
  expect(() => parseBackend(url, ca, true)).toThrow(
    expect.objectContaining({ code: 'option', message: expect.stringContaining(message) }),
  );
});
