import type { Manifest } from '@raccoon/bundle';
import type { ClientTls } from '@raccoon/transport/node';
import { CloudError } from './errors.ts';
import { isLoopback } from './http.ts';

/** Another server that runs the networks, as `--backend` names it. */
export interface BackendTarget {
  /** `host:port` */
  readonly address: string;
  /** Absent: no TLS. */
  readonly tls?: ClientTls | true;
  /** The model's name there; `{name}` and `{version}` are the bundle's. */
  readonly model: string;
}

/** One model of it. */
export interface RemoteModel extends BackendTarget {
  /** For a batch, with its second try, ms. */
  readonly timeoutMs: number;
  /** K */
  readonly classes: number;
}

/** For messages. */
export function nameOf({ model, address }: RemoteModel): string {
  return `model ${model} of the backend ${address}`;
}

/**
 * @param url `oip://host:port`, `oip://host:port/model`; `oips://` with TLS
 * @param ca PEM file of who signs the backend's certificate
 * @throws CloudError 'option', 'insecure'
 */
export function parseBackend(url: string, ca: string | undefined, insecure: boolean): BackendTarget {
  const [, scheme, address, host, model] =
    /^(oips?):\/\/((\[[^\]]+\]|[^/:@[\]]+):\d+)(?:\/([^/]+))?\/?$/.exec(url) ?? [];
  if (scheme === undefined || address === undefined || host === undefined) {
    throw new CloudError(
      'option',
      `--backend takes oip://host:port/model, or oips:// with TLS, not "${url}"`,
    );
  }
  const secure = scheme === 'oips';
  if (ca !== undefined && !secure)
    throw new CloudError('option', '--backend-ca is for TLS: --backend oips://...');
  if (!secure && !insecure && !isLoopback(host.replace(/^\[(.*)\]$/, '$1'))) {
    throw new CloudError(
      'insecure',
      `--backend ${url} goes to another machine without TLS: oips://, or --insecure on a network that you trust`,
    );
  }
  return {
    address,
    model: model === undefined ? '{name}' : decodeURIComponent(model),
    ...(secure && { tls: ca === undefined ? true : { ca } }),
  };
}

/** The model that holds a bundle's networks. */
export function remoteModel(target: BackendTarget, manifest: Manifest, timeoutMs: number): RemoteModel {
  const { name, version, classes } = manifest;
  const model = target.model.replaceAll('{name}', name).replaceAll('{version}', version);
  return { ...target, model, timeoutMs, classes: classes.length };
}
