import type { Bundle } from '@raccoon/bundle';
import type { InferRequest, InferStream } from '@raccoon/transport';

/** How to send images a slice at a time. */
export interface ProgressiveOptions {
  /** The cloud answers as soon as the first class leads by this probability, 0 to 1, and the rest is not sent. */
  readonly stopMargin: number;
  /** Where slices end, as shares of an image's bits, rising; the last slice goes to the end. Default `[0.75]`. */
  readonly shares?: readonly number[];
}

/** An image on its way to a cloud that may not need all of it. */
export interface SlicedImage {
  /** 1 to 4, cut by channels. */
  readonly slices: readonly Uint8Array[];
  /** As in `ProgressiveOptions`; not above 0: all slices are sent at once. */
  readonly stopMargin: number;
  /** The same image as one slice, for a cloud that takes no others. */
  readonly whole: () => Uint8Array;
}

/**
 * Where channels end so that the slices hold about these shares of an image's bits, for `edge.code`: by the information of
 * the point's coding tables, -sum p log2 p, which is what its images have on average. At most as many ends as shares and
 * one; the last is all channels.
 */
export function channelEndsAt(
  { codec: { tables } }: Bundle,
  point: number,
  shares: readonly number[],
): number[] {
  const { channels, tableOf } = tables;
  const bits = Array.from(tableOf.subarray(point * channels, (point + 1) * channels), (table) => {
    const { frequencies } = tables.tables.distribution(table);
    return frequencies.reduce((sum, f) => sum + f * (16 - Math.log2(f)), 0); // they sum to 2^16
  });
  const total = bits.reduce((sum, b) => sum + b, 0);
  const ends = new Set<number>();
  let before = 0;
  for (const [channel, b] of bits.entries()) {
    for (const share of shares)
      if (before < share * total && share * total <= before + b) ends.add(channel + 1);
    before += b;
  }
  return [...ends.add(channels)];
}

/**
 * Sends an image, one slice after the other, until the cloud is sure of it; its answer comes as any other.
 * @param request what goes with the first slice
 * @param onSlice told of every payload that goes to the link, bytes
 * @throws TransportError when the link does not take it
 */
export async function sendSlices(
  stream: InferStream,
  request: Omit<InferRequest, 'payload'>,
  { slices, stopMargin, whole }: SlicedImage,
  onSlice: (bytes: number) => void = () => undefined,
): Promise<void> {
  const { id } = request;
  const taken = slices.length <= Math.max(1, stream.welcome.maxSlices) ? slices : [whole()];
  for (const [sliceIndex, payload] of taken.entries()) {
    const moreSlices = sliceIndex < taken.length - 1;
    const slice = sliceIndex > 0 ? { id, sliceIndex } : moreSlices ? { ...request, stopMargin } : request;
    onSlice(payload.length);
    await stream.send({ ...slice, payload, moreSlices });
    if (moreSlices && stopMargin > 0 && !(await stream.wantsMore(id))) return;
  }
}
