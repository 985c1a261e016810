import { defineConfig, type Connect, type Plugin, type ProxyOptions } from 'vite';

/** The API that the development and preview servers talk to. */
const api = process.env['WEB_API_URL'] ?? 'http://127.0.0.1:8000';

/** `Content-Security-Policy` of every page: the same as the API sends with the embedded files. */
export const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Which file serves a path: the same table as the API's routes. */
function pageOf(path: string): string | undefined {
  if (/^\/events\/\d+$/.test(path)) return '/event.html';
  if (path === '/console' || path.startsWith('/console/')) return '/console.html';
  return undefined;
}

const rewrite: Connect.NextHandleFunction = (request, _response, next) => {
  const [path = '', query] = (request.url ?? '').split('?');
  const page = pageOf(path);
  if (page) request.url = page + (query ? `?${query}` : '');
  next();
};

const pages: Plugin = {
  name: 'pages',
  configureServer: (server) => void server.middlewares.use(rewrite),
  configurePreviewServer: (server) => void server.middlewares.use(rewrite),
};

/** An API that does not answer is 502, as behind any gateway. */
const configure: ProxyOptions['configure'] = (proxy) => {
  proxy.on('error', (_error, _request, response) => {
    if ('writeHead' in response) response.writeHead(502).end();
    else response.destroy();
  });
};
const proxy: Record<string, ProxyOptions> = {
  '/ws': { target: api, ws: true, configure },
  ...Object.fromEntries(['/api', '/health', '/metrics', '/openapi.json', '/docs'].map((path) => [path, { target: api, configure }])),
};

export default defineConfig({
  appType: 'mpa',
  plugins: [pages],
  server: { proxy },
  preview: {
    proxy,
    headers: {
      'Content-Security-Policy': PAGE_POLICY,
      'X-Content-Type-Options': 'nosniff',
      'X-Frame-Options': 'DENY',
      'Referrer-Policy': 'no-referrer',
    },
  },
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    sourcemap: false,
    rollupOptions: { input: ['index.html', 'event.html', 'console.html'] },
  },
});
