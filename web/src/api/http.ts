import { noteServerDate } from '../base/clock';
import type { ProblemBody } from './types';

const TIMEOUT_MS = 15_000;

/** A refusal of the server: its words, and when to try again. */
export class Problem extends Error {
  readonly code: string;
  readonly status: number;
  readonly body: ProblemBody;
  readonly retryAfterSeconds: number | undefined;

  constructor(body: ProblemBody, retryAfterSeconds?: number) {
    super(body.detail);
    this.name = 'Problem';
    this.code = body.error;
    this.status = body.status;
    this.body = body;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** No answer: nobody knows whether the request arrived. */
export class Offline extends Error {
  constructor(cause: unknown) {
    super('No answer from the server', { cause });
    this.name = 'Offline';
  }
}

export interface Answer<T> {
  status: number;
  headers: Headers;
  body: T;
}

export interface RequestOptions {
  method?: string;
  headers?: Record<string, string>;
  body?: unknown;
  signal?: AbortSignal;
  timeoutMs?: number;
  /** How to read the body; JSON by default. */
  as?: 'json' | 'bytes' | 'text';
}

/** Sends a request; throws `Problem` or `Offline`. */
export async function send<T>(path: string, options: RequestOptions = {}): Promise<Answer<T>> {
  const headers: Record<string, string> = { Accept: 'application/json', ...options.headers };
  const init: RequestInit = { method: options.method ?? 'GET', headers };
  if (options.body !== undefined) {
    headers['Content-Type'] = 'application/json';
    init.body = JSON.stringify(options.body);
  }
  const timeout = AbortSignal.timeout(options.timeoutMs ?? TIMEOUT_MS);
  init.signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  const sentAt = Date.now();
  let response: Response;
  try {
    response = await fetch(path, init);
    if (isFresh(response.headers)) noteServerDate(response.headers.get('Date'), sentAt, Date.now());
    if (response.ok || response.status === 304) return { status: response.status, headers: response.headers, body: await read<T>(response, options) };
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Offline(error);
  }
  throw await problemOf(response);
}

/** An answer that a cache may have kept tells the time of then: the seat map's is kept for seconds. */
function isFresh(headers: Headers): boolean {
  return !headers.has('Age') && !/max-age=[1-9]/.test(headers.get('Cache-Control') ?? '');
}

async function read<T>(response: Response, options: RequestOptions): Promise<T> {
  if (response.status === 304) return undefined as T;
  if (options.as === 'bytes') return new Uint8Array(await response.arrayBuffer()) as T;
  if (options.as === 'text') return (await response.text()) as T;
  return (await response.json()) as T;
}

async function problemOf(response: Response): Promise<Error> {
  const seconds = Number(response.headers.get('Retry-After'));
  const retry = seconds > 0 ? seconds : undefined;
  const text = await response.text().catch(() => '');
  try {
    const body = JSON.parse(text) as ProblemBody;
    if (typeof body.error === 'string') return new Problem(body, retry);
  } catch {
    // Not ours: a proxy's page, or nothing.
  }
  if (response.status >= 502) return new Offline(`${response.status} without a body of ours`);
  return new Problem(
    { type: 'about:blank', title: response.statusText, status: response.status, detail: `The server answered ${response.status}`, error: 'unreadable', trace_id: response.headers.get('X-Trace-Id') ?? '' },
    retry,
  );
}
