import { join } from 'node:path';
import {
  localEngine,
  planSweep,
  rayEngine,
  readSpec,
  runSweep,
  runUnit,
  studyTables,
  SweepStore,
  trialsOf,
  unitsOf,
  writeReport,
  type PlannedTrial,
  type Spec,
  type SweepProgress,
  type Trial,
  type UnitContext,
} from '@raccoon/rac';
import { Presets, SingleBar } from 'cli-progress';
import { Command, Option } from 'commander';
import { jsonOption, whole } from '../options.ts';
import { rayCluster, trainingPackage } from '../sweep-python.ts';
import { mmac, table } from '../table.ts';

interface SweepFlags {
  store?: string;
  engine?: 'local' | 'ray';
  parallel?: number;
  address?: string;
  dryRun?: true;
  tables?: true;
  report: string | boolean;
  unit?: string;
  json?: true;
}

export function sweepCommand(): Command {
  return new Command('sweep')
    .description('Train and measure every trial of a spec: blocks, widths, rates, seeds, models. Resumes.')
    .argument('<spec>', 'YAML; docs/sweeps.md says what can be in it')
    .option('--store <folder>', "where trials are kept; default: the spec's")
    .addOption(
      new Option('--engine <name>', "where trials run; default: the spec's").choices(['local', 'ray']),
    )
    .addOption(new Option('--parallel <count>', 'trials at a time on this machine').argParser(whole(1)))
    .option('--address <host:port>', "of a Ray cluster's head, or auto; default: one of this machine alone")
    .option('--dry-run', 'what would be done, and an estimate of what that costs')
    .option('--tables', 'nothing is run: Markdown tables of what is finished')
    .option('--report <folder>', "where the report goes; default: the store's report")
    .option('--no-report', 'without a report at the end')
    .addOption(new Option('--unit <id>', 'one training and its trials, for engines').hideHelp())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
The same command resumes a sweep that was stopped, however it was stopped: what is finished is kept, a training goes on from
its checkpoint. A trial that fails is written down and the others go on; the exit code is 1 then, and the same command tries
it again. At the end raccoon report writes its page. Needs packages/training/.venv: npx nx run training:setup makes it;
for --engine ray also npx nx run training:setup-ray.

Examples:
  raccoon sweep packages/training/studies/smoke.yaml --dry-run
  raccoon sweep packages/training/studies/smoke.yaml
  raccoon sweep study.yaml --engine ray --address head-node:6379
  raccoon sweep study.yaml --tables > study.md`,
    )
    .action(sweep);
}

async function sweep(file: string, flags: SweepFlags): Promise<void> {
  const read = readSpec(file);
  const spec: Spec = {
    ...read,
    ...(flags.store !== undefined && { store: flags.store }),
    ...(flags.engine && { engine: flags.engine }),
    ...(flags.parallel !== undefined && { parallel: flags.parallel }),
  };
  const trials = trialsOf(spec);
  const store = new SweepStore(spec.store);
  if (flags.tables) {
    process.stdout.write(studyTables(spec, trials, store));
    return;
  }
  const python = trainingPackage();
  if (flags.dryRun) return showPlan(spec, trials, store, flags.json ?? false);

  const context: UnitContext = { spec, store, python, command: `npx raccoon sweep ${file}` };
  if (flags.unit !== undefined) {
    const unit = unitsOf(trials).find(({ training }) => training.id === flags.unit);
    if (!unit) throw new Error(`${file} has no training ${flags.unit}`);
    await runUnit(context, unit, () => undefined);
    return;
  }
  const engine =
    spec.engine === 'ray'
      ? rayEngine(spec, rayCluster(flags.address), ({ training }) => [
          process.execPath,
          ...process.execArgv,
          process.argv[1]!,
          'sweep',
          spec.file,
          '--store',
          spec.store,
          '--unit',
          training.id,
        ])
      : localEngine((unit, onState) => runUnit(context, unit, onState), spec.parallel);
  const progress = progressOf();
  const outcome = await runSweep(trials, store, engine, progress.show).finally(progress.stop);

  const written =
    flags.report === false || outcome.kept + outcome.done === 0
      ? undefined
      : await writeReport({
          results: [join(spec.store, 'trials')],
          out: typeof flags.report === 'string' ? flags.report : join(spec.store, 'report'),
          title: spec.name,
          command: context.command,
          acrossBundles: true,
        });
  if (flags.json) {
    process.stdout.write(`${JSON.stringify({ ...outcome, report: written?.files ?? [] })}\n`);
  } else {
    process.stdout.write(
      `${trials.length} trials: ${outcome.kept} were finished, ${outcome.done} done now, ${outcome.failures.length} failed\n` +
        `results in ${join(spec.store, 'trials')}${written ? `, report in ${written.files[0]}` : ''}\n`,
    );
  }
  if (outcome.failures.length > 0) process.exitCode = 1;
}

async function showPlan(spec: Spec, trials: Trial[], store: SweepStore, json: boolean): Promise<void> {
  const plan = await planSweep(spec, trials, store, trainingPackage());
  if (json) {
    process.stdout.write(`${JSON.stringify(plan)}\n`);
    return;
  }
  const head = ['', 'id', 'state', 'edge MAC', 'images', 'training, 10^12 MAC', 'minutes left'];
  const how = {
    measured: 'by the speed of the trainings that are in the store',
    declared: 'by imagesPerSecond of the spec',
    unknown: 'unknown: imagesPerSecond in the spec, or a first training, says how fast this machine is',
  }[plan.speed];
  const total =
    plan.minutes === null ? '' : `${plan.minutes.toFixed(0)} minutes of training left one after another, `;
  process.stdout.write(
    `${spec.name}: ${trials.length} trials, ${unitsOf(trials).length} trainings; store ${spec.store}\n\n` +
      `${table(
        head,
        trials.map((_, i) => planRow(plan.trials[i]!)),
        3,
      )}\n\nestimated: ${total}${how}\n`,
  );
}

const planRow = ({ id, name, state, edgeMacs, images, trainMacs, minutes }: PlannedTrial): string[] => [
  name,
  id,
  state,
  mmac(edgeMacs),
  images === null ? '-' : images.toLocaleString('en'),
  trainMacs === null ? '-' : (trainMacs / 1e12).toFixed(1),
  minutes === null ? '-' : minutes.toFixed(1),
];

interface Shower {
  show(this: void, progress: SweepProgress): void;
  stop(this: void): void;
}

/** One bar over the trials, with what is being worked on; without a terminal a line for each that ends. */
function progressOf(): Shower {
  if (!process.stderr.isTTY) {
    return {
      show: ({ news, done, failed, total }) => {
        if (news !== undefined) process.stderr.write(`${done + failed}/${total} ${news}\n`);
      },
      stop: () => undefined,
    };
  }
  const bar = new SingleBar(
    {
      format: 'trials {bar} {value}/{total} {state}',
      stream: process.stderr,
      clearOnComplete: true,
      forceRedraw: true,
    },
    Presets.rect,
  );
  let started = false;
  return {
    show({ total, done, failed, current, news }) {
      if (news !== undefined && failed > 0) bar.update({ state: news });
      const state = `${failed > 0 ? `(${failed} failed) ` : ''}${current.join(', ')}`;
      if (!started) bar.start(total, done + failed, { state });
      started = true;
      bar.update(done + failed, { state });
    },
    stop: () => bar.stop(),
  };
}
