/** A program in a README, and the lines that it says it prints: what stands behind `console.log(...); // `. */
export interface Example {
  code: string;
  prints: string[];
}

/** Every `js` block of Markdown. */
export function examplesOf(markdown: string): Example[] {
  return [...markdown.matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => ({
    code: code!,
    prints: [...code!.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map(([, line]) => line!),
  }));
}
