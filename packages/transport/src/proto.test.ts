import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import * as proto from '../scripts/proto.mjs';

const remedy = 'run `npm run generate -w @raccoon/transport` and commit what it made';
const contract = proto.parse(proto.readSources(), { keepCase: true });
const lock: proto.Lock = JSON.parse(readFileSync(proto.lockFile, 'utf8'));

test('proto/ breaks no older peer', () => {
  expect(proto.breakingChanges(lock, contract)).toEqual([]);
});

test('the lock knows every field', () => {
  expect(proto.nextLock(lock, contract), remedy).toEqual(lock);
});

test('the generated code is that of proto/', () => {
  const fresh = mkdtempSync(join(tmpdir(), 'raccoon-proto-'));
  try {
    proto.writeTypes(fresh);
    const files = proto.filesBelow(fresh);
    const committed = proto.filesBelow(proto.generatedDir).filter((name) => name !== 'descriptor.ts');
    expect(committed, remedy).toEqual(files);
    for (const name of files) {
      const made = readFileSync(join(fresh, name), 'utf8');
      expect(readFileSync(join(proto.generatedDir, name), 'utf8'), `${name}: ${remedy}`).toBe(made);
    }
    const descriptor = proto.renderDescriptor(proto.parse(proto.readSources()));
    expect(readFileSync(join(proto.generatedDir, 'descriptor.ts'), 'utf8'), remedy).toBe(descriptor);
  } finally {
    rmSync(fresh, { recursive: true });
  }
});

describe('the check for breaking changes', () => {
  const before = `
    syntax = "proto3"; package p;
    message M { uint32 a = 1; oneof kind { string b = 2; bytes c = 3; } }
    service S { rpc Do(M) returns (stream M); }`;
  const locked = proto.describe(proto.parse([before], { keepCase: true }));
  const problems = (change: [string, string]): string[] =>
    proto.breakingChanges(locked, proto.parse([before.replace(...change)], { keepCase: true }));

  test.each<[string, [string, string], string[]]>([
    ['nothing', ['', ''], []],
    ['a new field', ['uint32 a = 1;', 'uint32 a = 1; uint32 d = 4;'], []],
    ['a field removed and reserved', ['uint32 a = 1;', 'reserved 1; reserved "a";'], []],
    ['a field removed', ['uint32 a = 1;', ''], ['p.M.a = 1 is gone: reserve its number and its name']],
    [
      'only the number reserved',
      ['uint32 a = 1;', 'reserved 1;'],
      ['p.M.a = 1 is gone: reserve its number and its name'],
    ],
    [
      'a new number',
      ['uint32 a = 1;', 'uint32 a = 4;'],
      ['p.M.a = 1 is gone: reserve its number and its name'],
    ],
    [
      'another type',
      ['uint32 a', 'sint32 a'],
      ['p.M field 1 was uint32 a and is sint32 a: take a new number'],
    ],
    [
      'another name',
      ['uint32 a', 'uint32 z'],
      ['p.M field 1 was uint32 a and is uint32 z: take a new number'],
    ],
    [
      'repeated',
      ['uint32 a', 'repeated uint32 a'],
      ['p.M field 1 was uint32 a and is repeated uint32 a: take a new number'],
    ],
    [
      'out of its oneof',
      ['bytes c = 3; }', '} bytes c = 3;'],
      ['p.M field 3 was bytes c of kind and is bytes c: take a new number'],
    ],
    ['another answer', ['(stream M)', '(M)'], ['method p.S.Do was (M -> stream M) and is (M -> M)']],
    [
      'a method removed',
      ['rpc Do(M) returns (stream M);', ''],
      ['method p.S.Do was (M -> stream M) and is (gone)'],
    ],
  ])('%s', (_, change, expected) => {
    expect(problems(change)).toEqual(expected);
  });

  test('a message removed', () => {
    expect(proto.breakingChanges(locked, proto.parse(['syntax = "proto3"; package p;']))).toContain(
      'message p.M is gone',
    );
  });

  test('a removed field stays in the lock', () => {
    const after = proto.parse([before.replace('uint32 a = 1;', 'reserved 1; reserved "a";')]);
    expect(proto.nextLock(locked, after).messages).toMatchObject({ 'p.M': { 1: { name: 'a' } } });
  });
});
