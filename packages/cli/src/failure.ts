/**
 * One line on stderr and exit code 1. With RACCOON_DEBUG set, the stack and its causes as well.
 * @param subject what the line is about, unless the message names it
 */
export function report(error: unknown, subject?: string): void {
  const { message, stack, cause } = error instanceof Error ? error : new Error(String(error));
  const line = message.split('\n')[0]!;
  process.stderr.write(`raccoon: ${subject && !line.includes(subject) ? `${subject}: ` : ''}${line}\n`);
  if (process.env['RACCOON_DEBUG'])
    process.stderr.write(`${stack}\n${cause instanceof Error ? cause.stack : ''}\n`);
  process.exitCode = 1;
}
