// What a script of test/load or test/faults prints: the machine, its figures as tables, its bars, and all of it as a line of JSON.
import { execFileSync } from 'node:child_process';
import { arch, availableParallelism, cpus, loadavg, platform, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

export class Report {
  #name;
  #short;
  #tables = {};
  #bars = [];

  /** @param short a short run: bars on times are shown and not judged, because nobody cleared the machine for it */
  constructor(name, short = false) {
    this.#name = name;
    this.#short = short;
    console.log(`${name}: ${machine()}`);
    console.log(
      `commit ${commit()}, command: npm run ${name.replace('/', ' -- ')} ${process.argv.slice(3).join(' ')}\n`,
    );
  }

  note(text) {
    console.log(text);
  }

  /** @param rows row name -> column name -> value */
  table(title, rows) {
    console.log(`\n${title}`);
    console.table(
      Object.fromEntries(
        Object.entries(rows).map(([name, row]) => [
          name,
          Object.fromEntries(Object.entries(row).map(([column, cell]) => [column, rounded(cell)])),
        ]),
      ),
    );
    this.#tables[title] = rows;
  }

  /** A number that must be at least, at most, or equal to a limit. */
  bar(what, value, operator, limit, { timed = false } = {}) {
    const met = compare(value, operator, limit);
    const judged = !(timed && this.#short);
    this.#bars.push({ what, value, operator, limit, met, judged });
  }

  /** Prints the bars and sets the exit code. Returns whether all are met. */
  end() {
    console.log('');
    for (const { what, value, operator, limit, met, judged } of this.#bars) {
      const verdict = judged ? (met ? 'met   ' : 'MISSED') : 'short ';
      console.log(`${verdict} ${what}: ${rounded(value)} (bar: ${operator} ${rounded(limit)})`);
    }
    const ok = this.#bars.every(({ met, judged }) => met || !judged);
    const line = {
      name: this.#name,
      machine: machine(),
      commit: commit(),
      ok,
      bars: this.#bars,
      tables: this.#tables,
    };
    console.log(`\n${JSON.stringify(line)}`);
    process.exitCode = ok ? 0 : 1;
    return ok;
  }
}

function machine() {
  return (
    `${cpus()[0]?.model ?? arch()}, ${availableParallelism()} processors, ${Math.round(totalmem() / 2 ** 30)} GiB, ` +
    `${platform()} ${arch()}, Node ${process.versions.node}, load ${loadavg()[0].toFixed(1)}`
  );
}

function git(...args) {
  return execFileSync('git', args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }).trim();
}

function commit() {
  try {
    return (
      git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '-uno') ? ' with changes' : '')
    );
  } catch {
    return 'unknown (no git here)';
  }
}

function compare(value, operator, limit) {
  if (operator === '>=') return value >= limit;
  if (operator === '<=') return value <= limit;
  if (operator === '=') return value === limit;
  throw new Error(`no such bar: ${operator}`);
}

/** Four significant digits, and no fraction above a thousand. */
function rounded(value) {
  if (typeof value !== 'number' || Number.isInteger(value)) return value;
  return Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(4));
}
