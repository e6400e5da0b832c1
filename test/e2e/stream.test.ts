import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { expectFailure, expectSuccess, lines, raccoon, start, startCloud } from '../helpers/cli.ts';
import { root, sample, samples, temporaryFolder } from '../helpers/paths.ts';

// `raccoon cloud` and `raccoon edge` as their users run them: processes, a socket, signals.

/** Enough photos that a stream of them does not end by itself within a test's next step. */
const manyPhotos = Array.from({ length: 20 }, () => samples).flat();

test('every photo of a folder is answered', async () => {
  const { address } = await startCloud();
  const ended = await raccoon(['edge', 'samples/', '--cloud', address]);
  expect(ended.code).toBe(0);
  expect(ended.stderr).toMatch(
    /^17 images: 17 answered by the cloud, 0 here \(0 degraded\), 0 failed; [\d,]+ B sent, .* ms median, .* ms p95\n$/,
  );
  const named = lines(ended.stdout).map((line) => line.split('  ')[0]);
  expect(named.map((name) => join(root, name!)).toSorted()).toEqual(samples);
  for (const line of lines(ended.stdout))
    expect(line).toMatch(/ % {2}[\d,]+ B \(\d\.\d\d bpp\) {2}encode .* ms, round trip .* ms$/);
});

test('--json: one object a photo; --top and the operating point are heard', async () => {
  const { address } = await startCloud();
  const ended = await raccoon([
    'edge',
    sample('hen.jpg'),
    '-c',
    address,
    '--json',
    '--top',
    '2',
    '-n',
    '0',
    '-q',
    '0',
  ]);
  expectSuccess(ended);
  const [answer] = lines(ended.stdout).map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(answer).toMatchObject({ file: sample('hen.jpg'), index: 0, point: 0 });
  expect(answer!['top']).toHaveLength(2);
});

test('a photo from a pipe', async () => {
  const { address } = await startCloud();
  const { child, ended } = start(['edge', '-', '--cloud', address]);
  child.stdin.end(readFileSync(sample('hen.jpg')));
  expectSuccess(await ended);
  expect((await ended).stdout).toMatch(/^- {2}/);
});

test('photos from a pipe, one after the other; the last is cut', async () => {
  const { address } = await startCloud();
  const { child, ended } = start(['edge', '-', '--cloud', address]);
  const koala = readFileSync(sample('koala.jpg'));
  child.stdin.end(Buffer.concat([readFileSync(sample('hen.jpg')), koala, koala.subarray(0, 20_000)]));
  const { code, stdout, stderr } = await ended;
  const names = lines(stdout).map((line) => line.split('  ')[0]);
  expect(names.toSorted()).toEqual(['-', '-#2']);
  expect(stderr).toMatch(/^raccoon: the stream of JPEGs ends within image 3, .*\n$/);
  expect(code).toBe(1);
});

test('auto with a deadline, explained; its state is kept', async () => {
  const { address } = await startCloud();
  const state = join(temporaryFolder(), 'state.json');
  const args = ['edge', sample('hen.jpg'), '-c', address, '--policy', 'auto', '--deadline-ms', '60000'];
  const first = await raccoon([...args, '--state', state, '--explain']);
  expectSuccess(first);
  expect(first.stdout).toMatch(/^.*hen\.jpg {2}.*\n {4}n=\d q=\d.* expected.*\n$/);
  expect(JSON.parse(readFileSync(state, 'utf8'))).toMatchObject({ policy: 'auto' });
  expectSuccess(await raccoon([...args, '--state', state]));
  writeFileSync(state, '{"policy":"none"}');
  expectFailure(await raccoon([...args, '--state', state]), `--state ${state}: .*start without it`);
});

test('no cloud, a deadline: the local exit answers, and says so', async () => {
  const args = ['edge', sample('hen.jpg'), '-c', '127.0.0.1:1', '--deadline-ms', '60000'];
  const shown = await raccoon([...args, '--explain']);
  expectSuccess(shown);
  expect(shown.stdout).toMatch(/answered here, degraded {2}encode .* ms\n {4}the link is down; /);
  const json = JSON.parse((await raccoon([...args, '--json'])).stdout) as unknown;
  expect(json).toMatchObject({ source: 'edge', degraded: true, bytes: 0 });
});

test('a folder that a camera writes to', async () => {
  const { address } = await startCloud();
  const folder = temporaryFolder();
  const edge = start(['edge', folder, '--watch', '--json', '--cloud', address]);
  const writing = setInterval(
    () => writeFileSync(join(folder, 'new.jpg'), readFileSync(sample('hen.jpg'))),
    2000,
  );
  onTestFinished(() => clearInterval(writing));
  const line = JSON.parse(lines(await edge.printed(/\n/))[0]!) as unknown;
  expect(line).toMatchObject({ file: join(folder, 'new.jpg'), source: 'cloud' });
  edge.child.kill('SIGINT');
  expect((await edge.ended).code).toBe(0);
});

test.each([
  [['--tls-ca', '/none'], '--tls-ca: there is no file /none'],
  [['--calibration', '/none'], '--calibration: cannot read /none'],
  [['--profile', '/none'], '--profile: cannot read /none'],
  [['--rate', 'much'], '--rate .*or auto'],
  [['--exit-threshold', '2'], 'from 0 to 1'],
  [['--watch', 'b'], '--watch takes one folder'],
  [['--video', 'film.mp4'], '--video is a source by itself'],
])('a flag that cannot be: %j', async (flags, why) => {
  expectFailure(await raccoon(['edge', sample('hen.jpg'), ...flags]), why);
});

test('bad files among good ones: a line for each, the others answered', async () => {
  const { address } = await startCloud();
  const folder = temporaryFolder();
  const text = join(folder, 'text.jpg');
  const half = join(folder, 'half.jpg');
  writeFileSync(text, 'dear diary');
  writeFileSync(half, readFileSync(sample('koala.jpg')).subarray(0, 50_000));
  const nobody = join(folder, 'nobody.jpg');
  const ended = await raccoon([
    'edge',
    text,
    sample('hen.jpg'),
    nobody,
    half,
    sample('koala.jpg'),
    '-c',
    address,
  ]);
  expect(ended.code).toBe(1);
  expect(
    lines(ended.stdout)
      .map((line) => line.split('  ')[0])
      .toSorted(),
  ).toEqual([sample('hen.jpg'), sample('koala.jpg')].toSorted());
  const [summary, ...errors] = lines(ended.stderr).toSorted();
  expect(summary).toMatch(/^5 images: 2 answered by the cloud, .* 3 failed/);
  expect(errors).toHaveLength(3);
  expect(errors[0]).toBe(`raccoon: ${half} is damaged: ${errors[0]!.split(': ').slice(2).join(': ')}`);
  expect(errors[1]).toBe(`raccoon: ${nobody} does not exist`);
  expect(errors[2]).toMatch(`raccoon: ${text} is not a photo`);
});

test('a folder without photos', async () => {
  const folder = temporaryFolder();
  expectFailure(await raccoon(['edge', folder]), `no photos in ${folder}`);
});

describe('no cloud', () => {
  test('nobody there', async () => {
    const { address, child, ended } = await startCloud();
    child.kill('SIGTERM');
    await ended;
    expectFailure(await raccoon(['edge', 'samples/', '-c', address]), `${address}.*raccoon cloud`);
  });

  test.each(['nonsense:port', 'no.such.host.invalid:1', '127.0.0.1:99999'])(
    'an address like %s',
    async (address) => {
      expectFailure(await raccoon(['edge', sample('hen.jpg'), '-c', address]), /./);
    },
  );

  test('it is killed in the middle', async () => {
    const cloud = await startCloud();
    const edge = start(['edge', ...manyPhotos, '-c', cloud.address, '--patience', '0.5']);
    await edge.printed(/\n/);
    cloud.child.kill('SIGKILL');
    expectFailure(await edge.ended, /raccoon cloud.*\(\d+ photos answered\)$/);
  });

  test('it is asked to leave in the middle: what it took is answered, and it exits with 0', async () => {
    const cloud = await startCloud();
    const edge = start(['edge', ...manyPhotos, '-c', cloud.address, '--patience', '0.5']);
    await edge.printed(/\n/);
    cloud.child.kill('SIGTERM');
    expectSuccess(await cloud.ended);
    expectFailure(await edge.ended, /\(\d+ photos answered\)$/);
  });
});

test.each(['SIGTERM', 'SIGINT'] as const)('%s ends an idle cloud with exit code 0', async (signal) => {
  const { child, ended } = await startCloud();
  child.kill(signal);
  expectSuccess(await ended);
  expect(lines((await ended).stdout).at(-1)).toBe('raccoon cloud: draining');
});

describe('a cloud that cannot start', () => {
  test('a port that is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await new Promise((resolve) => server.once('listening', resolve));
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    expectFailure(await raccoon(['cloud', '--listen', address, '--workers', '1']), `${address}.*taken`);
  });

  test('an address that is none', async () => {
    expectFailure(await raccoon(['cloud', '--listen', 'here', '--workers', '1']), 'host:port.*here');
  });

  test('a bundle that is not there', async () => {
    expectFailure(await raccoon(['cloud', '--bundle', 'nowhere']), 'no bundle named nowhere');
  });
});
