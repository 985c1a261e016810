// One request to the API: identity, idempotency key, time limit, retries.
import { HoldfastError, NoAnswerError, ProblemError, UnexpectedAnswerError, isProblem, problemError } from "./errors.js";
import { backoffMs, pause, reasonOf } from "./timing.js";

/** How a failed request is repeated. */
export interface RetryOptions {
  /** Attempts in all; 4 if absent, 1 never repeats. */
  attempts?: number;
  /** The first pause; doubled each time, with jitter. 200 ms if absent. */
  firstPauseMs?: number;
  /** The longest pause, also of a `Retry-After`: a longer one is thrown at once. 10 s if absent. */
  longestPauseMs?: number;
}

/** Who a client is and where its server. */
export interface HoldfastOptions {
  /** The server's address; the page's own if absent. */
  baseUrl?: string;
  /** The user, where the server trusts this client to name one (`auth = "trusted"`). */
  user?: string;
  /** The user's signed token (`auth = "jwt"`), or a function that returns a fresh one. */
  token?: string | (() => string | Promise<string>);
  /** An admin key. Not for browsers of buyers. */
  adminKey?: string;
  /** Time for one attempt; 20 s if absent: longer than a confirmation waits for the archive. */
  timeoutMs?: number;
  retry?: RetryOptions;
  /** Replaces the global `fetch`. */
  fetch?: typeof fetch;
  /** Replaces the global `WebSocket`: Node 20 and 21 need that of the package `ws`. */
  webSocket?: WebSocketClass;
}

/** What of `WebSocket` is used. */
export type WebSocketClass = new (url: string) => WebSocketLike;

export interface WebSocketLike {
  readonly readyState: number;
  send(data: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "open" | "error", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { code: number; reason: string }) => void): void;
}

/** Options of one call. */
export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** The request's idempotency key; a random one if absent, the same in all attempts. */
  idempotencyKey?: string | undefined;
  /** The token of the waiting room. */
  waitingRoomToken?: string | undefined;
  /** Called with the status and headers of a success, such as `Idempotent-Replayed` or `RateLimit`. */
  onAnswer?: ((answer: { status: number; headers: Headers }) => void) | undefined;
}

export interface Request {
  method: "GET" | "POST" | "PATCH" | "DELETE";
  path: string;
  query?: Record<string, string | number | boolean | null | undefined> | undefined;
  body?: unknown;
  headers?: Record<string, string | undefined>;
  /** Whether it may be sent again when it is not known whether it happened. */
  isRepeatable: boolean;
  signal?: AbortSignal | undefined;
  onAnswer?: CallOptions["onAnswer"];
}

export interface Answer<T> {
  status: number;
  headers: Headers;
  body: T;
}

/** Codes that mean: nothing happened, or the same request continues what was begun. */
const WORTH_RETRYING = new Set(["in_flight", "body_timeout", "rate_limit_exceeded", "too_many_connections",
  "service_unavailable", "event_not_loaded", "booking_log_full"]);

export class Transport {
  readonly baseUrl: string;
  readonly #options: HoldfastOptions;
  readonly #attempts: number;
  readonly #firstPauseMs: number;
  readonly #longestPauseMs: number;

  constructor(options: HoldfastOptions) {
    const page = (globalThis as { location?: { origin?: string } }).location?.origin;
    const base = options.baseUrl ?? page;
    if (!base) throw new HoldfastError("baseUrl is missing: the address of the Holdfast API");
    this.baseUrl = base.replace(/\/+$/, "");
    this.#options = options;
    this.#attempts = Math.max(1, options.retry?.attempts ?? 4);
    this.#firstPauseMs = options.retry?.firstPauseMs ?? 200;
    this.#longestPauseMs = options.retry?.longestPauseMs ?? 10_000;
  }

  /** Sends a request, again if it failed and that is safe, and returns the answer's JSON. */
  async send<T>(request: Request): Promise<Answer<T>> {
    let hasRenewed = false;
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await this.#attempt<T>(request);
        request.onAnswer?.(answer);
        return answer;
      } catch (error) {
        if (request.signal?.aborted) throw reasonOf(request.signal);
        const isStale = error instanceof ProblemError && error.code === "token_expired";
        if (isStale && typeof this.#options.token === "function" && !hasRenewed) {
          hasRenewed = true;
          continue;
        }
        const waitMs = attempt < this.#attempts ? this.#pauseBefore(request, error, attempt) : undefined;
        if (waitMs === undefined) throw error;
        await pause(waitMs, request.signal);
      }
    }
  }

  /** How long to wait before the next attempt; `undefined`: there must not be one. */
  #pauseBefore(request: Request, error: unknown, attempt: number): number | undefined {
    const backoff = backoffMs(attempt, this.#firstPauseMs, this.#longestPauseMs);
    if (error instanceof ProblemError) {
      const isWorthIt = WORTH_RETRYING.has(error.code) ||
        (request.isRepeatable && (error.code === "outcome_unknown" || error.code === "internal_error"));
      const serverMs = error.retryAfterMs ?? 0;
      return isWorthIt && serverMs <= this.#longestPauseMs ? serverMs + backoff : undefined;
    }
    if (error instanceof UnexpectedAnswerError) {
      // Of a proxy: 502 and 504 may have reached the server.
      return request.isRepeatable && error.status >= 500 ? backoff : undefined;
    }
    return request.isRepeatable && error instanceof NoAnswerError ? backoff : undefined;
  }

  async #attempt<T>(request: Request): Promise<Answer<T>> {
    const headers = await this.headers(request.headers);
    if (request.body !== undefined) headers["content-type"] = "application/json";
    const timeoutMs = this.#options.timeoutMs ?? 20_000;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), timeoutMs);
    const abort = (): void => limit.abort();
    request.signal?.addEventListener("abort", abort, { once: true });
    if (request.signal?.aborted) abort();
    const send = this.#options.fetch ?? fetch;
    try {
      const response = await send(this.url(request.path, request.query), {
        method: request.method,
        headers,
        body: request.body === undefined ? null : JSON.stringify(request.body),
        signal: limit.signal,
      });
      return await read<T>(response);
    } catch (error) {
      if (error instanceof HoldfastError || request.signal?.aborted) throw error;
      const why = limit.signal.aborted ? `within ${timeoutMs} ms` : `(${String(error)})`;
      throw new NoAnswerError(`No answer from ${this.baseUrl} ${why}`, { cause: error });
    } finally {
      clearTimeout(timer);
      request.signal?.removeEventListener("abort", abort);
    }
  }

  /** The headers that identify the caller, with those of one request. */
  async headers(own: Record<string, string | undefined> = {}): Promise<Record<string, string>> {
    const { token, user, adminKey } = this.#options;
    const headers: Record<string, string> = { accept: "application/json" };
    if (token !== undefined) headers["authorization"] = `Bearer ${typeof token === "function" ? await token() : token}`;
    if (user !== undefined) headers["x-user-id"] = user;
    if (adminKey !== undefined) headers["x-admin-key"] = adminKey;
    for (const [name, value] of Object.entries(own)) if (value !== undefined) headers[name] = value;
    return headers;
  }

  url(path: string, query: Request["query"] = {}): string {
    const parameters = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null) parameters.set(name, String(value));
    }
    const text = parameters.toString();
    return this.baseUrl + path + (text && `?${text}`);
  }
}

async function read<T>(response: Response): Promise<Answer<T>> {
  const text = await response.text();
  let body: unknown;
  try {
    body = text === "" ? undefined : JSON.parse(text);
  } catch (error) {
    throw new UnexpectedAnswerError(response.status, `An answer (${response.status}) that is not JSON: ${String(error)}`);
  }
  if (response.ok) return { status: response.status, headers: response.headers, body: body as T };
  if (!isProblem(body)) {
    throw new UnexpectedAnswerError(response.status, `An answer (${response.status}) that is not a problem document`);
  }
  throw problemError(body, retryAfterMs(response.headers));
}

/** `Retry-After` as a time from now: seconds, or a date that a proxy has set. */
export function retryAfterMs(headers: Headers): number | undefined {
  const text = headers.get("retry-after");
  if (text === null || text.trim() === "") return undefined;
  const seconds = Number(text);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
