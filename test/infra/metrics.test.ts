import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startCloud } from '../helpers/cli.ts';
import { root, shippedBundle, temporaryFolder } from '../helpers/paths.ts';
import { missing, run, tool } from './tools.ts';

// What Prometheus and Grafana are told to look at, against what the service says.

const infra = join(root, 'infra');
const read = (file: string): string => readFileSync(join(infra, file), 'utf8');

interface Panel {
  id: number;
  title: string;
  type: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: { expr: string }[];
}

const dashboard = JSON.parse(read('grafana/raccoon-cloud.json')) as {
  panels: Panel[];
  templating: { list: { name: string }[] };
};
const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

const FILES = {
  dashboard: expressions.join('\n'),
  alerts: read('prometheus/alerts.yml'),
  'tests of the alerts': read('prometheus/alerts.test.yml'),
  'prometheus-adapter': read('prometheus/adapter-values.yaml'),
  chart: read('helm/raccoon/templates/autoscaling.yaml'),
};

/** Metrics of the service in PromQL, a histogram's as its own name. */
function metricsIn(text: string, histograms: ReadonlySet<string>): string[] {
  const names = text.match(/\b(?:raccoon|nodejs|process)_[a-z0-9_]+\b(?!:)/g) ?? [];
  return names
    .filter((name) => name !== 'raccoon_queue_seconds_mean') // the adapter's, not the service's
    .map((name) => {
      const [, of] = /^(.*)_(?:sum|count|bucket)$/.exec(name) ?? [];
      return of !== undefined && histograms.has(of) ? of : name;
    });
}

test('every metric that is asked for is one of a running service', async () => {
  const cloud = await startCloud('--bundle', shippedBundle, '--metrics-port', '0');
  const [, address] = /metrics on (\S+)/.exec(await cloud.printed(/metrics on .*\n/))!;
  const text = await (await fetch(`http://${address}/metrics`)).text();
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)/gm)].map(([, name, type]) => [name!, type!]));
  const histograms = new Set([...types].filter(([, type]) => type === 'histogram').map(([name]) => name));
  expect(types.get('raccoon_ready')).toBe('gauge');
  for (const [file, content] of Object.entries(FILES)) {
    const asked = new Set(metricsIn(content, histograms));
    expect(asked.size, file).toBeGreaterThan(0);
    expect(
      [...asked].filter((name) => !types.has(name)),
      file,
    ).toEqual([]);
  }
  // nothing of the service is left out of the dashboard
  const shown = new Set(metricsIn(FILES.dashboard, histograms));
  expect([...types.keys()].filter((name) => name.startsWith('raccoon_') && !shown.has(name))).toEqual([]);
  // counters are looked at by their rates, gauges are not
  for (const expression of expressions) {
    for (const [, rate, name] of expression.matchAll(
      /(rate\(|increase\()?(\b(?:raccoon|nodejs|process)_\w+)/g,
    )) {
      expect(rate !== undefined, expression).toBe(types.get(name!) !== 'gauge');
    }
  }
});

test('panels have ids of their own and do not lie on each other', () => {
  const { panels } = dashboard;
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  expect(panels.every(({ gridPos: { x, w } }) => x + w <= 24)).toBe(true);
  const variables = new Set(dashboard.templating.list.map(({ name }) => name));
  expect(
    expressions.every((expr) =>
      [...expr.matchAll(/\$(\w+)/g)].every(([, name]) => name === '__rate_interval' || variables.has(name!)),
    ),
  ).toBe(true);
});

test('every alert of docs/operations.md is a rule, and every runbook is a heading there', () => {
  const page = readFileSync(join(root, 'docs/operations.md'), 'utf8');
  const [, section] = /### Alerts worth having\n([^]*?)\n## /.exec(page)!;
  for (const [name] of section!.matchAll(/\braccoon_\w+/g)) expect(FILES.alerts).toContain(name);
  for (const [, anchor] of FILES.alerts.matchAll(/runbook: docs\/operations\.md#(\S+)/g)) {
    expect(page.toLowerCase()).toContain(`\n### ${anchor!.replaceAll('-', ' ')}\n`);
  }
});

const promtool = tool('promtool');

test.skipIf(!promtool)(`promtool checks and tests the rules${missing('promtool', promtool)}`, async () => {
  const cwd = join(infra, 'prometheus');
  expect(await run(promtool!, ['check', 'rules', 'alerts.yml'], { cwd })).toMatch(/SUCCESS: \d+ rules found/);
  expect(await run(promtool!, ['test', 'rules', 'alerts.test.yml'], { cwd })).toContain('SUCCESS');
  expect(await run(promtool!, ['check', 'config', '--syntax-only', 'prometheus.yml'], { cwd })).toContain(
    'SUCCESS',
  );
});

test.skipIf(!promtool)(`every query of the dashboard is PromQL${missing('promtool', promtool)}`, async () => {
  const rules = expressions.map((expr, i) => ({
    record: `panel:${i}`,
    expr: expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$(job|instance)/g, '.*'),
  }));
  const file = join(temporaryFolder(), 'dashboard.yml'); // JSON is YAML
  writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
  expect(await run(promtool!, ['check', 'rules', file])).toContain(`${rules.length} rules found`);
});
