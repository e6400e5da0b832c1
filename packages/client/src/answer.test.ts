import { softmax } from '@raccoon/edge';
import { expect, test } from 'vitest';
import { cloudLogits } from './answer.ts';

const logits = Float32Array.of(4, 1, 3, 0, -1, 2);

test("what the cloud left out shares what probability is left: softmax gives the cloud's own back", () => {
  const probabilities = softmax(logits);
  const top = [0, 2, 5].map((index) => ({
    index,
    probability: probabilities[index]!,
    logit: logits[index]!,
  }));
  const filled = cloudLogits({ top, margin: 0 }, logits.length);
  for (const [k, p] of softmax(filled).entries()) {
    const rest = (probabilities[1]! + probabilities[3]! + probabilities[4]!) / 3;
    expect(p).toBeCloseTo([0, 2, 5].includes(k) ? probabilities[k]! : rest, 6);
  }
});

test('every logit, where the cloud gave it; every class, where it gave these; one that is sure', () => {
  const probabilities = softmax(logits);
  const top = Array.from(logits, (logit, index) => ({ index, probability: probabilities[index]!, logit }));
  expect(cloudLogits({ top: top.slice(0, 1), margin: 0, logits }, 6)).toBe(logits);
  expect(cloudLogits({ top, margin: 0 }, 6)).toEqual(logits);
  const sure = cloudLogits({ top: [{ index: 3, probability: 1, logit: 9 }], margin: 1 }, 6);
  expect(sure[3]).toBe(9);
  expect(softmax(sure)[3]).toBeGreaterThan(0.99999);
});
