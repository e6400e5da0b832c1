import { DEFAULTS, startCloud } from '@raccoon/cloud';
import { Command, Option } from 'commander';
import { report } from '../failure.ts';
import { bundleOption, whole } from '../options.ts';

interface CloudFlags {
  bundle: string;
  listen: string;
  workers?: number;
  maxBatch: number;
  maxBatchDelayMs: number;
  maxQueue: number;
  drainSeconds: number;
}

const number = (flags: string, text: string, min: number, fallback: number): Option =>
  new Option(flags, text).argParser(whole(min)).default(fallback);

export function cloudCommand(): Command {
  return new Command('cloud')
    .description('Serve the cloud half of a bundle over gRPC.')
    .addOption(bundleOption())
    .option('-l, --listen <host:port>', 'address; port 0 takes a free one', DEFAULTS.listen)
    .addOption(
      new Option(
        '--workers <count>',
        'threads that run the network (default: half the processors)',
      ).argParser(whole(1)),
    )
    .addOption(number('--max-batch <images>', 'images that run together', 1, DEFAULTS.maxBatch))
    .addOption(
      number('--max-batch-delay-ms <ms>', 'how long a batch waits for company', 0, DEFAULTS.maxBatchDelayMs),
    )
    .addOption(number('--max-queue <requests>', 'requests that wait; more are refused', 1, DEFAULTS.maxQueue))
    .addOption(number('--drain-seconds <s>', 'time for what is in flight after SIGTERM', 0, 10))
    .addHelpText(
      'after',
      `
Examples:
  raccoon cloud                                        on this machine only, port 50051
  raccoon cloud --listen 0.0.0.0:50051 --workers 4
  raccoon cloud --listen 127.0.0.1:0                   prints the port it got`,
    )
    .action(async ({ drainSeconds, ...options }: CloudFlags) => {
      const cloud = await startCloud(options);
      let stopping = false;
      const stop = (): void => {
        if (stopping) return;
        stopping = true;
        process.stdout.write('raccoon cloud: draining\n');
        // the process ends by itself, with code 0, once nothing is open any more
        cloud.close(drainSeconds * 1000).catch(report);
      };
      // before the line that tells others that it runs, and may be ended
      process.on('SIGTERM', stop).on('SIGINT', stop);
      const { name, version } = cloud.bundle.manifest;
      process.stdout.write(
        `raccoon cloud: ${name} ${version} on ${cloud.address}, ${cloud.workers} worker${cloud.workers > 1 ? 's' : ''}. Ctrl-C drains and ends.\n`,
      );
    });
}
