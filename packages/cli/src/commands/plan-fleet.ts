import { readFile } from 'node:fs/promises';
import { openBundle } from '@raccoon/bundle/node';
import { DEFAULTS } from '@raccoon/cloud';
import {
  fewestSimulated,
  measureServiceTimes,
  planFleet,
  serviceTimes,
  simulateDemand,
  type Balancer,
  type BatchTime,
  type FleetDemand,
  type FleetPlan,
} from '@raccoon/rac';
import { Command, InvalidArgumentError, Option } from 'commander';
import { bundleOption, jsonOption, whole } from '../options.ts';
import { ms, percent, table } from '../table.ts';

interface PlanFleetFlags {
  imagesPerSecond: number;
  p99Ms: number;
  bundle: string;
  serviceMs?: string;
  photo?: string[];
  seconds: number;
  workers?: number;
  maxBatch: number;
  maxQueue: number;
  speeds: number[];
  spare: number;
  clients: number;
  json?: true;
}

/** What a worker takes for batches, and where that comes from. */
interface Service {
  source: string;
  workers: number;
  batches: readonly BatchTime[];
}

interface SimulatedWay {
  how: string;
  balancer: Balancer;
  p50Ms: number;
  p99Ms: number;
  meanBatch: number;
  utilisation: number;
  /** Share of the images, 0 to 1. */
  refused: number;
}

export function planFleetCommand(): Command {
  return new Command('plan-fleet')
    .description('How many replicas of the cloud a load needs: a queueing model, checked by simulation.')
    .requiredOption('--images-per-second <count>', 'of all edges together', above0)
    .requiredOption('--p99-ms <ms>', '99 % of the answers within this, from arrival at the cloud', above0)
    .addOption(bundleOption())
    .option(
      '--service-ms <times>',
      'what one worker takes: 6.1 (an image), 1:6.1,16:60 (batches), or a file that --json has written; default: measured here, now',
    )
    .option('--photo <files...>', 'to measure with; default: a made picture')
    .addOption(new Option('--seconds <s>', 'how long to measure').argParser(whole(1)).default(10))
    .addOption(
      new Option('--workers <count>', 'of each replica (default: as the service chooses here)').argParser(
        whole(1),
      ),
    )
    .addOption(
      new Option('--max-batch <images>', 'as `raccoon cloud`').argParser(whole(1)).default(DEFAULTS.maxBatch),
    )
    .addOption(
      new Option('--max-queue <requests>', 'as `raccoon cloud`')
        .argParser(whole(1))
        .default(DEFAULTS.maxQueue),
    )
    .addOption(
      new Option('--speeds <factors>', 'a mixed fleet, as many of each: 1,0.5 where half are half as fast')
        .argParser((text) => text.split(',').map(above0))
        .default([1], '1'),
    )
    .addOption(
      new Option('--spare <replicas>', 'that may be missing: a node that is drained')
        .argParser(whole(0))
        .default(1),
    )
    .addOption(
      new Option('--clients <count>', 'edges, with one stream each, for the simulation')
        .argParser(whole(1))
        .default(100),
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
The model gives every request to a worker at random and lets it wait there: a bound for balancers that know more. The
simulation has the same replicas behind the balancers that there are. More of both: docs/scaling.md.

Examples:
  raccoon plan-fleet --images-per-second 2000 --p99-ms 100
  raccoon plan-fleet --images-per-second 2000 --p99-ms 100 --service-ms 1:5.6,16:60 --workers 1
  raccoon plan-fleet --images-per-second 2000 --p99-ms 100 --json > plan.json
  raccoon plan-fleet --images-per-second 9000 --p99-ms 100 --service-ms plan.json --speeds 1,1,0.5`,
    )
    .action(run);
}

async function run(flags: PlanFleetFlags): Promise<void> {
  const service = flags.serviceMs === undefined ? await measured(flags) : await given(flags, flags.serviceMs);
  const demand: FleetDemand = {
    imagesPerSecond: flags.imagesPerSecond,
    p99Ms: flags.p99Ms,
    times: serviceTimes(service.batches, flags.maxBatch),
    workers: service.workers,
    maxQueue: flags.maxQueue,
    speeds: flags.speeds,
    spare: flags.spare,
  };
  const plan = planFleet(demand);
  const simulated = balancers(flags.clients).map(([how, balancer]): SimulatedWay => {
    const { answered, refused, p50Ms, p99Ms, meanBatch, utilisation } = simulateDemand(
      demand,
      plan.needed,
      balancer,
    );
    const share = refused / (refused + answered);
    return { how, balancer, p50Ms, p99Ms, meanBatch, utilisation, refused: share };
  });
  const fewest = fewestSimulated(demand, plan.needed, BEST);
  if (flags.json) {
    const { times: _, ...asked } = demand;
    process.stdout.write(
      `${JSON.stringify({ ...asked, maxBatch: flags.maxBatch, service, ...plan, simulated, fewestWithLeastOutstanding: fewest })}\n`,
    );
    return;
  }
  process.stdout.write(report(flags, service, plan, simulated, fewest));
}

async function measured({ bundle, photo, seconds, workers, maxBatch }: PlanFleetFlags): Promise<Service> {
  const opened = await openBundle(bundle);
  const { name, version } = opened.manifest;
  process.stderr.write(`raccoon: measuring ${name} ${version} for ${seconds} s\n`);
  const found = await measureServiceTimes(opened, {
    seconds,
    maxBatch,
    ...(photo && { photos: photo }),
    ...(workers !== undefined && { workers }),
  });
  const bytes = Math.round(found.payloadBytes);
  return {
    source: `${name} ${version}, measured here, now, with ${bytes.toLocaleString('en')} bytes an image`,
    workers: found.workers,
    batches: found.batches,
  };
}

async function given({ workers = 1 }: PlanFleetFlags, text: string): Promise<Service> {
  const pairs = text.split(',').map((pair) => pair.split(':').map(Number));
  if (pairs.every((pair) => pair.length <= 2 && pair.every((value) => value > 0))) {
    const batches = pairs.map((pair) => ({ images: pair.length === 2 ? pair[0]! : 1, ms: pair.at(-1)! }));
    return { source: `as given, ${text} ms`, workers, batches };
  }
  try {
    const { service } = JSON.parse(await readFile(text, 'utf8')) as { service: Service };
    return { source: service.source, workers: service.workers, batches: [...service.batches] };
  } catch (cause) {
    throw new Error(
      `--service-ms ${text} is neither ms, nor images:ms pairs, nor a file of raccoon plan-fleet --json`,
      { cause },
    );
  }
}

/** One place that sees every message. */
const BEST: Balancer = { by: 'least-outstanding', per: 'message', senders: 1 };

const balancers = (clients: number): [how: string, Balancer][] => [
  ['each message anywhere', { by: 'random', per: 'message', senders: 1 }],
  [`${clients} clients, each message where they have least`, { ...BEST, senders: clients }],
  ['a proxy, each message to the better of two', { by: 'two-choices', per: 'message', senders: 1 }],
  ['a proxy, each message where least is', BEST],
  [
    `${clients} streams, each to the fewest streams`,
    { by: 'least-outstanding', per: 'stream', senders: clients },
  ],
];

function report(
  { imagesPerSecond, p99Ms, maxBatch, maxQueue, speeds, spare, clients }: PlanFleetFlags,
  { source, workers, batches }: Service,
  { replicas, needed, imagesPerSecondOfOne, model }: FleetPlan,
  simulated: readonly SimulatedWay[],
  fewest: number | undefined,
): string {
  const rows = [{ how: 'model: each message to any worker', ...model }, ...simulated].map((row) => [
    row.how,
    percent(row.utilisation),
    row.meanBatch.toFixed(1),
    percent(row.refused),
    ms(row.p50Ms),
    ms(row.p99Ms),
  ]);
  const times = batches.map(({ images, ms: time }) => `${images}: ${ms(time)}`).join(', ');
  const mixed = speeds.length > 1 ? `, speeds ${speeds.join(', ')}` : '';
  return `${replicas} replicas for ${imagesPerSecond.toLocaleString('en')} images/s with p99 <= ${p99Ms} ms: ${needed}, and ${spare} that may be missing

batches      ${times}
             (${source})
one replica  ${workers} worker${workers > 1 ? 's' : ''}, ${imagesPerSecondOfOne.toFixed(0)} images/s with full batches${mixed}

${table([`${needed} replicas`, 'busy', 'batch', 'refused', 'p50', 'p99'], rows)}

Fewest replicas in the simulation, with a proxy that sends each message where least is: ${fewest ?? `more than ${needed}`}

Assumed: Poisson arrivals, first come first served, batches of up to ${maxBatch} without delay, room for ${maxQueue} that wait; times
as above on every replica (times its speed), log-normal about the mean; ${clients} clients that send as much each. Not in it: the
network, the time a client needs, restarts, bursts beyond Poisson's, callers with a rate or a priority.
`;
}

function above0(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < Infinity)) throw new InvalidArgumentError('it must be a number above 0.');
  return value;
}
