// Keeps the page for the time without a network: whoever was here once can come again. The bundle keeps itself (connect's
// `cache`); calls of the cloud's endpoint never pass here.

/** Written by the build: every file of the page, and a hash of all of them. */
declare const FILES: readonly string[];
declare const VERSION: string;

/** The parts that are used here; TypeScript has them only among the types of a worker, which exclude a page's. */
interface Scope {
  readonly registration: { readonly scope: string };
  skipWaiting(): Promise<void>;
  readonly clients: { claim(): Promise<void> };
  addEventListener(name: 'install' | 'activate', listener: (event: Lifetime) => void): void;
  addEventListener(name: 'fetch', listener: (event: Fetch) => void): void;
}
interface Lifetime {
  waitUntil(work: Promise<unknown>): void;
}
interface Fetch {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

const scope = self as unknown as Scope; // see there
const PREFIX = 'raccoon-page-';
const CACHE = `${PREFIX}${VERSION}`;

scope.addEventListener('install', (event) => {
  event.waitUntil(
    caches
      .open(CACHE)
      .then((cache) => cache.addAll(FILES.map((file) => new URL(file, scope.registration.scope).href)))
      .then(() => scope.skipWaiting()),
  );
});

scope.addEventListener('activate', (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => names.filter((name) => name.startsWith(PREFIX) && name !== CACHE))
      .then((old) => Promise.all(old.map((name) => caches.delete(name))))
      .then(() => scope.clients.claim()),
  );
});

scope.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || !FILES.includes(fileOf(request.url))) return;
  // the page itself from its server, if there is one, so that a new version shows; what it loads does not change
  if (request.mode === 'navigate') event.respondWith(fetch(request).catch(() => kept(request)));
  else event.respondWith(kept(request).catch(() => fetch(request)));
});

/** As in FILES: what is below the scope, '' for the page. */
function fileOf(url: string): string {
  const { origin, pathname } = new URL(url);
  return (origin + pathname).replace(scope.registration.scope, '');
}

async function kept(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const response = await cache.match(request, { ignoreSearch: true, ignoreVary: true });
  if (response) return response;
  throw new TypeError(`${request.url} is not kept`);
}
