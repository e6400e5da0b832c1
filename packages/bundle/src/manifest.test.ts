import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { manifestJsonSchema } from './manifest.ts';

test('manifest.schema.json is current', () => {
  const published = readFileSync(new URL('../manifest.schema.json', import.meta.url), 'utf8');
  expect(JSON.parse(published), 'run: npm run generate -w @raccoon/bundle').toEqual(manifestJsonSchema());
});
