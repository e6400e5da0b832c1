import { CodecError, peekHeader, readHeader, type CodecErrorCode, type Header } from '@raccoon/codec';
import type { Caller, InferRequest, TransportErrorCode } from '@raccoon/transport';
import type { Model, Models } from './model.ts';
import type { Refusal } from './pipeline.ts';
import { RateLimit } from './rate-limit.ts';

export interface AdmissionLimits {
  /** Images per second of a caller that has no rate of its own; Infinity: no limit. */
  readonly imagesPerSecond: number;
}

/** What the door says of a request; `point` where the header can be read. */
export type Admitted =
  | {
      readonly model: Model;
      readonly point: number;
      readonly sliceCount: number;
      readonly refusal?: undefined;
    }
  | { readonly model?: Model; readonly point?: number; readonly refusal: Refusal };

/** The door: what it refuses has cost nothing but a look at 16 bytes. */
export class Admission {
  readonly #models: Models;
  readonly #rates: RateLimit;

  constructor(models: Models, { imagesPerSecond }: AdmissionLimits) {
    this.#models = models;
    this.#rates = new RateLimit(imagesPerSecond);
  }

  /**
   * @param moreToCome whether the payload is the first of several slices
   * @param now ms
   */
  admit(request: InferRequest, caller: Caller, moreToCome: boolean, now: number): Admitted {
    const { payload } = request;
    let header;
    let model;
    try {
      header = peekHeader(payload);
      model = this.#models.withCodec(header.codecId);
      // The worker checks the sum. Here it only tells a damaged header from one that asks for something else, and is
      // checked when something is kept because of what the header says.
      if (!model || moreToCome || !fits(header, model, moreToCome)) readHeader(payload);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      return { refusal: refusal(transportCode(error.code), error.message, error.code) };
    }
    const { codecId, point, h, w, sliceCount } = header;
    if (!model) return { point, refusal: refusal('unknown-codec', this.unknownCodec(codecId)) };
    const { name, version, latent } = model.bundle.manifest;
    const refuse = (...why: Parameters<typeof refusal>): Admitted => ({
      model,
      point,
      refusal: refusal(...why),
    });
    if (!mayUse(caller, name)) return refuse('forbidden', `${caller.name} may not use ${name}`);
    const asked = { name: request.bundle ?? name, version: request.bundleVersion ?? version };
    if (asked.name !== name || asked.version !== version) {
      return refuse(
        'unknown-codec',
        `codec ${codecId} is that of ${name} ${version}, and ${asked.name} ${asked.version} was asked for: name the bundle that the edge has`,
        'other-bundle',
      );
    }
    if (!fits(header, model, moreToCome)) {
      // its first channels alone would give some answer, and not the one that was asked for
      if (moreToCome !== sliceCount > 1)
        return refuse(
          'bad-request',
          `1 of ${sliceCount} slices, and ${moreToCome ? 'more are' : 'no other is'} to come: send as many as the image has`,
          'slices',
        );
      return refuse(
        'bad-request',
        `a latent of ${h}x${w}; ${name} takes ${latent.height}x${latent.width}`,
        'shape',
      );
    }
    const waitMs = this.#rates.take(caller, now);
    if (waitMs > 0) {
      const message = `${caller.name} sends more images per second than it may: slow down`;
      return refuse('rate-limited', message, 'rate', Math.min(Math.ceil(waitMs), 0xffff_ffff));
    }
    return { model, point, sliceCount };
  }

  /** For a codec, or several, that nobody has. */
  unknownCodec(ids: string): string {
    const served = this.#models.all.map(
      ({ bundle }) =>
        `${bundle.manifest.name} ${bundle.manifest.version} (${[...bundle.codecs.keys()].join(', ')})`,
    );
    return `codec ${ids} is not one of ${served.join(', ')}: edge and cloud need the same bundle (on the edge: raccoon bundle pull --from this cloud)`;
  }
}

/** Whether a header says what the model takes, and what its request says. */
function fits({ h, w, sliceCount }: Header, { bundle }: Model, moreToCome: boolean): boolean {
  const { height, width } = bundle.manifest.latent;
  return (moreToCome ? sliceCount > 1 : sliceCount === 1) && h === height && w === width;
}

/** Whether a caller may use a bundle. */
export function mayUse({ bundles }: Caller, name: string): boolean {
  return bundles === undefined || bundles.includes(name);
}

function refusal(code: TransportErrorCode, message: string, reason = '', retryAfterMs = 0): Refusal {
  return { code, message, reason, retryAfterMs };
}

/** A damaged bitstream is the client's fault or the link's; tables and files never come this way. */
function transportCode(code: CodecErrorCode): TransportErrorCode {
  switch (code) {
    case 'too-many-bytes':
      return 'payload-too-large';
    case 'version':
    case 'flags':
    case 'too-many-symbols':
      return 'bad-request';
    default:
      return 'corrupt-bitstream';
  }
}
