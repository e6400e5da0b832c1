import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { ours, packages, root } from './workspace.ts';

/** The blocks of Markdown that are in one of the languages. */
function codeBlocks(markdown: string, languages: string): string[] {
  return [...markdown.matchAll(new RegExp(`^\`\`\`(?:${languages})\\n(.*?)^\`\`\``, 'gms'))].map(
    ([, code]) => code!,
  );
}

/** `import { a, type B } from 'x'` -> ['x', ['a']]: what is there when the program runs. */
function namedImports(code: string): [module: string, names: string[]][] {
  const file = ts.createSourceFile('readme.ts', code, ts.ScriptTarget.Latest);
  return file.statements.filter(ts.isImportDeclaration).map((statement) => {
    const bindings = statement.importClause?.namedBindings;
    const elements = bindings && ts.isNamedImports(bindings) ? bindings.elements : [];
    const names = elements.filter(({ isTypeOnly }) => !isTypeOnly).map(({ name }) => name.text);
    return [(statement.moduleSpecifier as ts.StringLiteral).text, names];
  });
}

describe.each([...packages])('$name', ({ name, json }) => {
  const readme = readFileSync(join(root, 'packages', name, 'README.md'), 'utf8');

  test('has a README with an example', () => {
    expect(readme).toMatch(new RegExp(`^# ${json.name}\n`));
    expect(codeBlocks(readme, 'js|ts|sh')).not.toEqual([]);
  });

  test('the example imports what is there', async () => {
    for (const [module, names] of codeBlocks(readme, 'js|ts').flatMap(namedImports)) {
      expect(ours(module), module).toBeDefined();
      expect(Object.keys((await import(module)) as object), module).toEqual(expect.arrayContaining(names));
    }
  });
});
