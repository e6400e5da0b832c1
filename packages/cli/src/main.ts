import { Command } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { benchCommand } from './commands/bench.ts';
import { bundleCommand } from './commands/bundle.ts';
import { calibrateCommand } from './commands/calibrate.ts';
import { cloudCommand } from './commands/cloud.ts';
import { compareCommand } from './commands/compare.ts';
import { decodeCommand } from './commands/decode.ts';
import { deltaCommand } from './commands/delta.ts';
import { demoCommand } from './commands/demo.ts';
import { edgeCommand } from './commands/edge.ts';
import { encodeCommand } from './commands/encode.ts';
import { evalCommand } from './commands/eval.ts';
import { inspectCommand } from './commands/inspect.ts';
import { planCommand } from './commands/plan.ts';
import { planFleetCommand } from './commands/plan-fleet.ts';
import { reportCommand } from './commands/report.ts';
import { sweepCommand } from './commands/sweep.ts';
import { tokenCommand } from './commands/token.ts';
import {
  compoundCommand,
  exportCommand,
  shrinkCommand,
  trainClassifierCommand,
  trainCommand,
  trainPaperCommand,
} from './commands/train.ts';
import { webCommand } from './commands/web.ts';
import { report } from './failure.ts';

const program: Command = new Command('raccoon')
  .description('One neural network on two machines: a learned encoder at the edge, the rest in the cloud.')
  .version(packageJson.version)
  .enablePositionalOptions() // what follows `raccoon train` is the training package's
  .configureOutput({
    // commander says "error: ..." and may suggest something on a second line
    outputError: (text, write) =>
      write(
        `raccoon: ${text.replace(/^error: |\.?\s*$/g, '').replaceAll('\n', ' ')}; --help shows what there is\n`,
      ),
  })
  .addHelpText(
    'after',
    `
Examples:
  raccoon demo                                     everything on this machine, with sample photos
  raccoon cloud --listen 0.0.0.0:50051 --insecure  on the big machine, in a network that you trust
  raccoon edge photos/ --cloud big-machine:50051   on the small one`,
  );
for (const command of [
  demoCommand,
  cloudCommand,
  edgeCommand,
  webCommand,
  encodeCommand,
  decodeCommand,
  inspectCommand,
  evalCommand,
  compareCommand,
  sweepCommand,
  calibrateCommand,
  deltaCommand,
  reportCommand,
  benchCommand,
  planCommand,
  planFleetCommand,
  bundleCommand,
  tokenCommand,
  trainCommand,
  trainClassifierCommand,
  trainPaperCommand,
  exportCommand,
  shrinkCommand,
  compoundCommand,
]) {
  program.addCommand(withSettings(command()));
}

/** A command and those under it, with the program's settings, which `addCommand` does not pass on. */
function withSettings(command: Command): Command {
  command.copyInheritedSettings(program).commands.forEach(withSettings);
  return command;
}

// Whoever reads our output may stop: `raccoon inspect file | head`. What is left is written to nobody; exiting here
// could end the process inside ONNX Runtime, which aborts it.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  report(error);
}
