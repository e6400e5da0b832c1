import { openBundle } from '@raccoon/bundle/node';
import { REPORT_FORMATS, writeReport, type ReportFormat } from '@raccoon/rac';
import { Command, InvalidArgumentError, Option } from 'commander';
import { jsonOption } from '../options.ts';

interface ReportFlags {
  out: string;
  profile: string[];
  published?: string;
  bundle?: string;
  subject?: string;
  anchor?: string;
  title?: string;
  formats?: ReportFormat[];
  acrossBundles?: true;
  json?: true;
}

export function reportCommand(): Command {
  return new Command('report')
    .description(
      'What results say about rate, accuracy and complexity: a page, Markdown, plots and tables for programs.',
    )
    .argument('<results...>', 'files that raccoon eval --out wrote, or folders of them, as sweeps keep')
    .requiredOption('-o, --out <folder>', 'where to; made if it is missing')
    .addOption(
      new Option(
        '--profile <file>',
        'times on another device: what raccoon bench --out wrote there; may be repeated',
      )
        .argParser((file: string, before: string[]) => [...before, file])
        .default([], 'none'),
    )
    .option('--published <file>', 'curves of other people, in a panel of their own')
    .option('-b, --bundle <name or path>', 'for the bits of every channel: the bundle that was measured')
    .option('--subject <series>', 'what the report is about; default: the most accurate of our encoders')
    .option(
      '--anchor <series>',
      'what Δ-accuracies are against; default: Entropic Student, or the baseline that most have rates in common with',
    )
    .option('--title <text>', 'default: the network and the photos')
    .addOption(
      new Option('--formats <list>', `of ${REPORT_FORMATS.join(',')}; default: all`).argParser(formats),
    )
    .option('--across-bundles', 'compare several networks, of the same photos and classes')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Writes report.html, one file that needs nothing else; report.md with a PNG for each plot; rows.csv, differences.csv and
deltas.csv; rows.parquet and photos.parquet. Rows that differ in the seed alone are shown as their mean and spread.
Intervals are 95 %: by a bootstrap over the photos, paired in differences, where the results have them; else binomial, and
marked. All results must be of the same photos.

Examples:
  raccoon report full.json --out report
  raccoon report sweep/trials --out report --across-bundles
  raccoon report full.json --out report --profile pi.json --bundle imagenet1k-mobilenet
  raccoon report full.json --out report --published curves.json --anchor "webp effort=6" --formats md,png,csv`,
    )
    .action(async (results: string[], { json, profile, bundle, ...flags }: ReportFlags) => {
      const written = await writeReport({
        ...flags,
        results,
        command: commandLine(),
        profiles: profile,
        ...(bundle !== undefined && { bundle: await openBundle(bundle) }),
      });
      if (json) {
        process.stdout.write(`${JSON.stringify(written)}\n`);
        return;
      }
      const against = written.anchor === null ? '' : `, against ${written.anchor}`;
      process.stdout.write(
        `${written.points} points; about ${written.subject}${against}\n${written.files.join('\n')}\n`,
      );
    });
}

function formats(text: string): ReportFormat[] {
  return text.split(',').map((name) => {
    const format = REPORT_FORMATS.find((one) => one === name);
    if (!format) throw new InvalidArgumentError(`it must be of ${REPORT_FORMATS.join(',')}.`);
    return format;
  });
}

/** As it was typed, for a shell. */
function commandLine(): string {
  return ['raccoon', ...process.argv.slice(2).map(quoted)].join(' ');
}

function quoted(word: string): string {
  return /^[\w./:=,@+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
