import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { packages } from './workspace.ts';

/** `path:line` of every node of the file for which `is` holds. */
function places(file: ts.SourceFile, is: (node: ts.Node) => boolean): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (is(node)) {
      const { line } = file.getLineAndCharacterOfPosition(node.getStart(file));
      found.push(`${file.fileName}:${line + 1}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

function isDefaultExport(node: ts.Node): boolean {
  if (ts.isExportAssignment(node)) return true;
  if (ts.isExportSpecifier(node)) return node.name.text === 'default';
  return (
    ts.canHaveModifiers(node) &&
    !!ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword)
  );
}

function isStarExport(node: ts.Node): boolean {
  return ts.isExportDeclaration(node) && (!node.exportClause || ts.isNamespaceExport(node.exportClause));
}

function isConsole(node: ts.Node): boolean {
  return (
    ts.isPropertyAccessExpression(node) &&
    ts.isIdentifier(node.expression) &&
    node.expression.text === 'console'
  );
}

function isParameterPropertyOrEnum(node: ts.Node): boolean {
  return (
    ts.isEnumDeclaration(node) ||
    (ts.isParameter(node) && ts.isParameterPropertyDeclaration(node, node.parent))
  );
}

describe.each([...packages])('$name', ({ sources }) => {
  const offences = (is: (node: ts.Node) => boolean): string[] =>
    sources.flatMap(({ ast }) => places(ast, is));

  test('named exports only', () => {
    expect(offences(isDefaultExport)).toEqual([]);
    expect(offences(isStarExport)).toEqual([]);
  });

  test('no console: a library stays silent, the command writes to its streams', () => {
    expect(offences(isConsole)).toEqual([]);
  });

  test('no enums, no parameter properties: types are all that is erased', () => {
    expect(offences(isParameterPropertyOrEnum)).toEqual([]);
  });

  test('relative imports end in .ts', () => {
    const bare = sources.flatMap(({ path, imports }) =>
      imports
        .filter((to) => to.startsWith('.') && !/\.(ts|json|mjs)$/.test(to))
        .map((to) => `${path}: ${to}`),
    );
    expect(bare).toEqual([]);
  });
});
