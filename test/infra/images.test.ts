import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { raccoon } from '../helpers/cli.ts';
import { root } from '../helpers/paths.ts';
import { missing, run, tool } from './tools.ts';

// Dockerfiles and compose are not built here: there is no container engine. They are read.

const folder = join(root, 'infra/docker');
const DOCKERFILES = readdirSync(folder).filter((name) => name.endsWith('.Dockerfile'));
const read = (name: string): string => readFileSync(join(folder, name), 'utf8');

test.each(DOCKERFILES)(
  '%s: stages with tags, no root, a health check or none by intent, files that are there',
  (name) => {
    const text = read(name);
    const lines = text.split('\n');
    const stages = lines.filter((line) => line.startsWith('FROM '));
    expect(stages.length).toBeGreaterThan(1);
    for (const stage of stages) expect(stage).toMatch(/^FROM [\w/-]+:[\w.-]*\d[\w.-]*( AS \w+)?$/);
    expect(lines.findLast((line) => line.startsWith('USER '))).toBe('USER 10001:10001');
    expect(text).toMatch(/^HEALTHCHECK /m);
    expect(text).toMatch(/^# Not built where this repository is made/m);
    const ignored = read(`${name}.dockerignore`).split('\n');
    for (const [, sources] of text.matchAll(/^COPY (?!--from)(.*) \S+$/gm)) {
      for (const source of sources!.split(' ')) {
        expect(existsSync(join(root, source)), source).toBe(true);
        expect(ignored, source).toContain(`!${source}`);
      }
    }
  },
);

const hadolint = tool('hadolint');

test.skipIf(!hadolint).each(DOCKERFILES)(`%s: hadolint${missing('hadolint', hadolint)}`, async (name) => {
  expect(await run(hadolint!, [join(folder, name)])).toBe('');
});

interface Service {
  image: string;
  command?: string[];
  environment?: Record<string, string>;
  volumes?: string[];
  read_only?: boolean;
  cap_drop?: string[];
  security_opt?: string[];
  stop_grace_period?: string;
  build?: { context: string; dockerfile: string };
}

test('compose: three replicas of flags that there are, hardened, with files that are there', async () => {
  const compose = join(root, 'infra/compose');
  const text = readFileSync(join(compose, 'compose.yaml'), 'utf8');
  const { services, volumes } = parse(text, { merge: true }) as {
    services: Record<string, Service>;
    volumes: object;
  };
  const names = 'raccoon-1 raccoon-2 raccoon-3 haproxy prometheus grafana';
  expect(Object.keys(services).join(' ')).toBe(names);
  const { stdout: help } = await raccoon(['cloud', '--help']);
  for (const [name, service] of Object.entries(services)) {
    expect(service.image, name).toMatch(/:v?\d+\.\d+/);
    expect(service, name).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
    });
    for (const [source] of (service.volumes ?? []).map((volume) => volume.split(':'))) {
      if (source!.startsWith('.')) expect(existsSync(resolve(compose, source!)), source).toBe(true);
      else expect(Object.keys(volumes)).toContain(source);
    }
    if (!name.startsWith('raccoon')) continue;
    for (const arg of service.command!.slice(1)) expect(help).toContain(`${arg.split('=')[0]} `);
    const drain = service.command!.find((arg) => arg.startsWith('--drain-seconds='));
    expect(parseInt(service.stop_grace_period!, 10)).toBeGreaterThan(Number(drain!.split('=')[1]));
    const { context, dockerfile } = service.build!;
    expect(existsSync(resolve(compose, context, dockerfile))).toBe(true);
  }
  // every variable that HAProxy's files ask for, and every target of Prometheus
  const asked = ['common.cfg', 'plain.cfg'].flatMap((file) =>
    [...readFileSync(join(root, 'infra/haproxy', file), 'utf8').matchAll(/\$\{(\w+)\}/g)].map(
      ([, name]) => name!,
    ),
  );
  expect(new Set(Object.keys(services['haproxy']!.environment!))).toEqual(new Set(asked));
  const targets = readFileSync(join(root, 'infra/prometheus/prometheus.yml'), 'utf8').match(
    /[\w-]+:\d{4,5}/g,
  )!;
  for (const target of targets) expect(Object.keys(services)).toContain(target.split(':')[0]);
});
