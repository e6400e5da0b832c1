import { CloudError, endOnSignals, startCloud, type Cloud, type CloudOptions } from '@raccoon/cloud';
import { openPage } from '@raccoon/web';
import { Command, Option } from 'commander';
import { bundleOption, whole } from '../options.ts';

interface WebFlags {
  bundle: string;
  listen: string;
  tlsCert?: string;
  tlsKey?: string;
  insecure?: true;
  workers?: number;
}

/** From Ctrl-C to the end, at most. */
const DRAIN_MS = 5000;

export function webCommand(): Command {
  return new Command('web')
    .description('Serve a page that encodes photos in the browser, and the cloud that it asks, on one port.')
    .addOption(bundleOption())
    .option(
      '-l, --listen <host:port>',
      'address of page and endpoint; port 0 takes a free one',
      '127.0.0.1:8080',
    )
    .option('--tls-cert <file>', 'certificate chain, PEM: https')
    .option('--tls-key <file>', 'its private key, PEM')
    .option('--insecure', 'allow other machines without TLS')
    .addOption(
      new Option(
        '--workers <count>',
        'processes that run the network (default: half the processors)',
      ).argParser(whole(1)),
    )
    .addHelpText(
      'after',
      `
Browsers give the camera, threads and offline use to pages over https and from their own machine only: for other
machines give --tls-cert and --tls-key, or put a proxy with a certificate in front of it.

Examples:
  raccoon web                                      http://127.0.0.1:8080
  raccoon web --listen 127.0.0.1:0                 prints the address it got
  raccoon web --listen 0.0.0.0:8443 --tls-cert web.pem --tls-key web.key
  raccoon web --bundle my-bundle --workers 2`,
    )
    .action(web);
}

async function web({ bundle, listen, tlsCert, tlsKey, insecure, workers }: WebFlags): Promise<void> {
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new Error('--tls-cert and --tls-key belong together');
  }
  const tls = tlsCert !== undefined && tlsKey !== undefined && { cert: tlsCert, key: tlsKey };
  const running = await startPage({
    bundle,
    listen: '127.0.0.1:0', // gRPC, for whoever asks on this machine; the page has the other one
    httpListen: listen,
    httpFallback: await openPage(),
    insecure: insecure ?? false,
    ...(tls && { tls }),
    ...(workers !== undefined && { workers }),
  });
  endOnSignals(running, DRAIN_MS, () => process.stdout.write('raccoon web: draining\n'));
  const { name, version } = running.bundle.manifest;
  const url = `${tls ? 'https' : 'http'}://${running.httpAddress!}/`;
  process.stdout.write(`raccoon web: ${name} ${version} on ${url} Ctrl-C drains and ends.\n`);
}

/** @throws CloudError that calls the address what it is called here: the cloud has another `--listen` */
async function startPage(options: CloudOptions): Promise<Cloud> {
  try {
    return await startCloud(options);
  } catch (error) {
    if (error instanceof CloudError) error.message = error.message.replace(/^--http /, '--listen ');
    throw error;
  }
}
