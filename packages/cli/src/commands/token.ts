import { makeToken } from '@raccoon/cloud';
import { Command, InvalidArgumentError, Option } from 'commander';
import { jsonOption } from '../options.ts';

interface TokenFlags {
  name: string;
  bundle?: string[];
  imagesPerSecond?: number;
  json?: true;
}

export function tokenCommand(): Command {
  return new Command('token')
    .description('Make a token for a caller of `raccoon cloud --tokens`.')
    .addOption(
      new Option('--name <name>', 'of the caller, for logs, metrics and limits')
        .argParser((text: string) => {
          if (/^[\w.-]{1,64}$/.test(text)) return text;
          throw new InvalidArgumentError('it has 1 to 64 letters, digits, dots, dashes and underscores.');
        })
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--bundle <name>', 'it may use this one only; repeatable').argParser(
        (name: string, before?: string[]) => [...(before ?? []), name],
      ),
    )
    .addOption(
      new Option('--images-per-second <count>', 'its own rate limit').argParser((text: string) => {
        const value = Number(text);
        if (value > 0 && Number.isFinite(value)) return value;
        throw new InvalidArgumentError('it must be a number above 0.');
      }),
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
The token is shown once: the cloud's file has only its SHA-256. The file is a JSON list of such lines, and is read again
when it changes. Callers send \`authorization: Bearer <token>\`.

Examples:
  raccoon token --name camera-1
  raccoon token --name camera-2 --bundle imagenet1k-mobilenet --images-per-second 50`,
    )
    .action(({ json, ...about }: TokenFlags) => {
      const { bundle: bundles, ...rest } = about;
      const { token, line } = makeToken({ ...rest, ...(bundles && { bundles }) });
      process.stdout.write(
        json
          ? `${JSON.stringify({ token, line })}\n`
          : `token, for the caller:       ${token}\nline, for the cloud's file:  ${JSON.stringify(line)}\n`,
      );
    });
}
