import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { raccoon } from '../helpers/cli.ts';
import { root, temporaryFolder } from '../helpers/paths.ts';
import { missing, run, schemas, tool } from './tools.ts';

// The Helm chart, by Helm itself and against Kubernetes' own schemas.

const folder = join(root, 'infra/helm');
const chart = join(folder, 'raccoon');
const EXAMPLES = readdirSync(join(folder, 'examples')).toSorted();
const SECURE = ['--set', 'insecure=true'];

interface Container {
  args: string[];
  startupProbe: object;
  readinessProbe: object;
  livenessProbe: object;
  resources: { limits: { cpu: number } };
  securityContext: object;
  volumeMounts: { name: string; readOnly?: boolean }[];
}

interface Deployment {
  spec: {
    replicas?: number;
    template: {
      spec: {
        terminationGracePeriodSeconds: number;
        securityContext: object;
        automountServiceAccountToken: boolean;
        containers: [Container];
        volumes: { name: string }[];
      };
    };
  };
}

const helm = tool('helm');
const kubeconform = tool('kubeconform');

function template(...args: string[]): Promise<string> {
  return run(helm!, ['template', 'rac', chart, '--namespace', 'edge', '--kube-version', '1.36.3', ...args]);
}

const scaled = (kind: string): Promise<string> =>
  template(...SECURE, '--set', `autoscaling.kind=${kind}`, '--set', 'serviceMonitor.enabled=true');

const objects = (manifests: string): { kind: string; metadata: { name: string } }[] =>
  parseAllDocuments(manifests)
    .map((document) => document.toJS() as { kind: string; metadata: { name: string } } | null)
    .filter((object) => object !== null);

const deploymentOf = (manifests: string): Deployment =>
  objects(manifests).find(({ kind }) => kind === 'Deployment') as unknown as Deployment;

/** The number that a flag of the container has. */
const flag = ({ args }: Container, name: string): number =>
  Number(args.find((arg) => arg.startsWith(`--${name}=`))!.split('=')[1]);

test('the schema has every value, and nothing else', () => {
  const values = parse(readFileSync(join(chart, 'values.yaml'), 'utf8')) as Record<string, object>;
  const schema = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8')) as {
    properties: Record<string, { properties?: object }>;
  };
  const { global: _, ...properties } = schema.properties; // Helm's own
  expect(Object.keys(properties).toSorted()).toEqual(Object.keys(values).toSorted());
  for (const [name, { properties: inner }] of Object.entries(properties)) {
    if (inner) expect(Object.keys(inner).toSorted(), name).toEqual(Object.keys(values[name]!).toSorted());
  }
});

describe.skipIf(!helm)(`with Helm${missing('helm', helm)}`, () => {
  test.each(EXAMPLES)('%s: lint', async (example) => {
    const said = await run(helm!, ['lint', chart, '--strict', '--values', join(folder, 'examples', example)]);
    expect(said).toContain('1 chart(s) linted, 0 chart(s) failed');
  });

  test.skipIf(!kubeconform || !existsSync(schemas)).each(EXAMPLES)(
    `%s: Kubernetes 1.36 knows every field${missing('kubeconform', kubeconform)}`,
    async (example) => {
      const file = join(temporaryFolder(), 'manifests.yaml');
      writeFileSync(file, await template('--values', join(folder, 'examples', example)));
      const known = `${schemas}/{{ .ResourceKind }}{{ .KindSuffix }}.json`;
      // of these two there is no schema here: read by test below
      const others = ['-skip', 'ScaledObject,ServiceMonitor'];
      const said = await run(kubeconform!, [
        '-strict',
        '-summary',
        '-schema-location',
        known,
        ...others,
        file,
      ]);
      expect(said).toMatch(/Valid: [6-9], Invalid: 0, Errors: 0/);
    },
  );

  test.each(EXAMPLES)(
    '%s: hardened, drained, probed, and no flag that the service does not have',
    async (example) => {
      const manifests = await template('--values', join(folder, 'examples', example));
      const { spec } = deploymentOf(manifests).spec.template;
      const [container] = spec.containers;
      const { stdout: help } = await raccoon(['cloud', '--help']);
      for (const arg of container.args.slice(1)) expect(help).toContain(`${arg.split('=')[0]} `);

      expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(flag(container, 'drain-seconds'));
      expect(flag(container, 'drain-seconds')).toBeGreaterThan(flag(container, 'drain-grace-seconds'));
      expect(flag(container, 'workers')).toBe(container.resources.limits.cpu);
      expect(spec).toMatchObject({
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      });
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      for (const { name, readOnly } of container.volumeMounts)
        expect(readOnly ?? false, name).toBe(name !== 'tmp');
      expect(container.volumeMounts.map(({ name }) => name)).toEqual(spec.volumes.map(({ name }) => name));

      const tls = container.args.includes('--tls-cert=/tls/tls.crt');
      expect(tls).toBe(!container.args.includes('--insecure'));
      const ready = tls
        ? { httpGet: { path: '/readyz', port: 'metrics' } }
        : { grpc: { port: 50051, service: 'raccoon.v1.Raccoon' } };
      expect(container.readinessProbe).toMatchObject(ready);
      expect(container.startupProbe).toMatchObject(ready);
      expect(container.livenessProbe).toMatchObject({ httpGet: { path: '/healthz', port: 'metrics' } });
      const kinds = objects(manifests).map(({ kind }) => kind);
      expect(kinds).toEqual(
        expect.arrayContaining([
          'Deployment',
          'NetworkPolicy',
          'PodDisruptionBudget',
          'Service',
          'ServiceAccount',
        ]),
      );
      // one address for each pod
      expect(manifests).toContain('clusterIP: None');
    },
  );

  test('who scales: nobody, KEDA or the adapter, by the time in the queue', async () => {
    const none = await scaled('none');
    expect(deploymentOf(none).spec.replicas).toBe(3);
    const keda = await scaled('keda');
    expect(deploymentOf(keda).spec.replicas).toBeUndefined();
    const object = objects(keda).find(({ kind }) => kind === 'ScaledObject');
    expect(object).toMatchObject({
      apiVersion: 'keda.sh/v1alpha1',
      spec: {
        scaleTargetRef: { name: 'rac' },
        minReplicaCount: 3,
        maxReplicaCount: 20,
        triggers: [
          { type: 'prometheus', metricType: 'Value', metadata: { threshold: '0.02' } },
          { type: 'prometheus', metadata: { query: expect.stringContaining('code="overloaded"') } },
        ],
      },
    });
    const monitor = objects(keda).find(({ kind }) => kind === 'ServiceMonitor');
    expect(monitor).toMatchObject({
      apiVersion: 'monitoring.coreos.com/v1',
      spec: { endpoints: [{ port: 'metrics', interval: '15s' }] },
    });
    const adapter = await scaled('prometheus-adapter');
    const scaler = objects(adapter).find(({ kind }) => kind === 'HorizontalPodAutoscaler');
    const metric = { pods: { metric: { name: 'raccoon_queue_seconds_mean' } } };
    expect(scaler).toMatchObject({ spec: { metrics: [metric] } });
    expect(readFileSync(join(root, 'infra/prometheus/adapter-values.yaml'), 'utf8')).toContain(
      metric.pods.metric.name,
    );
  });

  test.each<[string[], RegExp]>([
    [[], /give tls\.secret, or say insecure: true/],
    [[...SECURE, '--set', 'workerz=1'], /workerz/],
    [[...SECURE, '--set', 'workers=3'], /workers: 3 do not fit into resources\.limits\.cpu: 2/],
    [[...SECURE, '--set', 'resources.limits.cpu=500m'], /must be 1 or more/],
    [[...SECURE, '--set', 'drain.graceSeconds=30'], /drain\.graceSeconds is part of drain\.seconds/],
    [[...SECURE, '--set-json', 'bundles=[]'], /nothing to serve/],
    [[...SECURE, '--set', 'autoscaling.kind=cpu'], /kind/],
    [['--set', 'tls.secret=x', '--set', 'probes.readiness=grpc'], /knows no TLS/],
    [[...SECURE, '--set', 'trustKeys.files={a.pub}'], /trustKeys\.secret/],
  ])('it does not render with %j, and says why', async (args, why) => {
    await expect(template(...args)).rejects.toThrow(why);
  });
});
