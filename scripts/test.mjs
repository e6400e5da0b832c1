// npm test [-- vitest arguments]: set-up, build, static checks, all tests in TypeScript and Python.
// The last line is `N passed, N failed`. With arguments: only those vitest tests.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build, installPackages, installPython, run } from './setup.mjs';

const only = process.argv.slice(2);
installPackages();
build();

const scratch = mkdtempSync(join(tmpdir(), 'raccoon-test-'));
let passed = 0;
let failed = 0;

/** A check that passes or fails as a whole counts as one test. */
function check(name, command, args) {
  console.log(`\n== ${name}`);
  if (run(command, args)) passed++;
  else failed++;
}

function vitest() {
  console.log('\n== vitest');
  const report = join(scratch, 'vitest.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const ok = run('npx', ['vitest', 'run', ...reporters, ...only]);
  try {
    const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, 'utf8'));
    // a file that cannot be loaded has no tests that could fail
    const broken = testResults.filter(
      (file) => file.status === 'failed' && file.assertionResults.length === 0,
    ).length;
    passed += numPassedTests;
    failed += numFailedTests + broken || (ok ? 0 : 1);
  } catch {
    failed++; // no report: vitest itself broke, and has said how
  }
}

function pytest() {
  console.log('\n== pytest');
  const report = join(scratch, 'pytest.xml');
  const ok = run('npx', ['nx', 'run', 'training:test'], { env: { PYTEST_ADDOPTS: `--junitxml=${report}` } });
  try {
    const xml = readFileSync(report, 'utf8');
    const count = (name) => Number(new RegExp(`<testsuite [^>]*\\b${name}="(\\d+)"`).exec(xml)[1]);
    const bad = count('failures') + count('errors');
    passed += count('tests') - bad - count('skipped');
    failed += bad || (ok ? 0 : 1);
  } catch {
    failed++;
  }
}

if (only.length === 0) {
  installPython();
  check('typecheck', 'npm', ['run', '--silent', 'typecheck']);
  check('lint', 'npm', ['run', '--silent', 'lint']);
  check('format', 'npm', ['run', '--silent', 'format:check']);
}
vitest();
if (only.length === 0) pytest();
rmSync(scratch, { recursive: true });
console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
