// An API process of the tests' own, with an admin key, on the Redis and MongoDB that HOLDFAST_REDIS_URL
// and HOLDFAST_MONGODB_URL name (`deploy/run.py --exec` sets both, and runs a worker beside).
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ADMIN_KEY = 'browser-tests';
const READY_MS_MAX = 60_000;
const STOP_MS_MAX = 20_000;
const ANSWER_MS_MAX = 15_000;
const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Waits until a condition holds; fails after the bound. */
export async function eventually(what, condition, boundMs = 30_000) {
  const until = Date.now() + boundMs;
  let last;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > until) throw new Error(`not within ${boundMs} ms: ${what}`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Reads an answer to its end: one that is left unread can hold up the next request, and for ever. */
async function read(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
  return { status: response.status, text: await response.text() };
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export class Api {
  /** `settings`: variables of its environment, over the usual ones; empty ones are left out. */
  static async start(settings = {}) {
    for (const name of ['HOLDFAST_REDIS_URL', 'HOLDFAST_MONGODB_URL']) {
      if (!process.env[name]) throw new Error(`${name} is not set: run this by deploy/run.py --exec`);
    }
    const api = new Api();
    api.settings = settings;
    api.port = await freePort();
    api.url = `http://127.0.0.1:${api.port}`;
    await api.launch();
    return api;
  }

  async launch() {
    const program = 'holdfast-api';
    const env = {
      ...process.env,
      HOLDFAST_LISTEN: `127.0.0.1:${this.port}`,
      HOLDFAST_METRICS_LISTEN: '127.0.0.1:0',
      HOLDFAST_ADMIN_KEYS_SHA256: `tests:${createHash('sha256').update(ADMIN_KEY).digest('hex')}`,
      HOLDFAST_LIMITS: 'observe',
      HOLDFAST_LOG_LEVEL: 'warn',
      ...this.settings,
    };
    for (const [name, value] of Object.entries(env)) if (value === '') delete env[name];
    this.log = '';
    this.child = spawn(program, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on('data', (data) => (this.log = (this.log + data).slice(-20_000)));
    this.ended = new Promise((resolve) => this.child.on('exit', resolve).on('error', (error) => resolve((this.log += error))));
    await eventually('the API is ready', async () => {
      if (this.child.exitCode !== null) return true;
      return (await read(`${this.url}/health/ready`)).status === 200;
    }, READY_MS_MAX);
    if (this.child.exitCode !== null) throw new Error(`the API ended: ${this.log}`);
  }

  async stop() {
    if (this.child.exitCode !== null) return;
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS_MAX);
    await this.ended;
    clearTimeout(timer);
  }

  async call(method, path, body, { user, key } = {}) {
    const headers = { 'content-type': 'application/json', accept: 'application/json', 'user-agent': 'Mozilla/5.0 (tests)' };
    if (user) headers['x-user-id'] = user;
    if (key) headers['x-admin-key'] = key;
    const response = await fetch(this.url + path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    return { status: response.status, body: await response.json() };
  }

  async admin(method, path, body) {
    // On a busy machine once more: `service_unavailable` says that nothing happened, and after
    // `outcome_unknown` these requests may be repeated (a second event does no harm here).
    const answer = await eventually(`${method} ${path}`, async () => {
      const one = await this.call(method, path, body, { key: ADMIN_KEY });
      return one.status !== 503 && one;
    });
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** A new event of rows; `rows`: "A" to "H", `seats` each. */
  createEvent(name, extra = {}) {
    const rows = (letters, seats) => [...letters].map((row) => ({ row, seats }));
    const sections = [
      { name: 'Stalls', price: 9500, rows: rows('ABCDEFGH', 24) },
      { name: 'Circle', price: 6500, rows: rows('ABCDEF', 28) },
    ];
    return this.admin('POST', '/api/v1/events', { name, venue: 'Grand Hall', currency: 'EUR', starts_at: '2030-12-12T19:30:00Z', sections, ...extra });
  }

  hold(event, seats, user) {
    return this.call('POST', '/api/v1/bookings', { event_id: event, seat_ids: seats }, { user });
  }

  async seatState(event, seat) {
    const { body } = await this.call('GET', `/api/v1/events/${event}/seats`);
    return body.seats[seat - 1].status;
  }
}

/** The pages: from the API where it has those of `dist`, else from `vite preview` before it, with the same policy. */
export async function servePages(api) {
  // A page names its scripts by what is in them.
  const isSame = async ([path, file]) => (await read(api.url + path)).text === (await readFile(join(root, 'dist', file), 'utf8'));
  const same = await Promise.all([['/', 'index.html'], ['/events/1', 'event.html'], ['/console', 'console.html']].map(isSame));
  if (!same.includes(false)) return { url: api.url, stop: async () => undefined };
  console.error('The API was built with other pages than web/dist: these come from vite preview.');
  process.env.WEB_API_URL = api.url;
  const { preview } = await import('vite');
  const server = await preview({ root, logLevel: 'error', preview: { port: await freePort(), strictPort: true, host: '127.0.0.1' } });
  return { url: server.resolvedUrls.local[0].replace(/\/$/, ''), stop: () => server.close() };
}
