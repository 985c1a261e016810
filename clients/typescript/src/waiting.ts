// Waiting in line by polling: for clients that keep no socket open.
import type { Holdfast } from "./client.js";
import { NoAnswerError, ProblemError, SaleOverError, UnexpectedAnswerError } from "./errors.js";
import { backoffMs, pause } from "./timing.js";
import type { QueueStatus } from "./types.js";

export interface WaitOptions {
  /** The token from joining; joins if absent. */
  token?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Called with each answer: the place, the estimate, the draw. */
  onStatus?: (status: QueueStatus) => void;
}

/** An admission: send `token` with the hold. `undefined` where nobody has to wait. */
export interface Admission {
  token: string | undefined;
  status: QueueStatus;
}

/** Codes after which the place is as it was: ask again. */
const PASSING = new Set(["service_unavailable", "outcome_unknown", "event_not_loaded", "rate_limit_exceeded",
  "too_many_connections", "internal_error"]);
const LONGEST_PAUSE_MS = 30_000;
/** A poll comes up to this much later than asked for, so that many clients spread out. */
const LATE_SHARE = 0.1;

/** Polls after `refresh_after_seconds` until the place is served; a poll then claims the session. */
export async function waitForAdmission(client: Holdfast, event: number, options: WaitOptions): Promise<Admission> {
  const { signal, onStatus } = options;
  let token = options.token;
  let failures = 0;
  for (;;) {
    let pauseMs: number;
    try {
      let status: QueueStatus;
      if (token === undefined) {
        const place = await client.joinWaitingRoom(event, { signal });
        token = place.token ?? undefined;
        status = place;
      } else {
        status = await client.queueStatus(event, token, { signal });
      }
      failures = 0;
      onStatus?.(status);
      if (status.admitted) return { token, status };
      if (status.status === "sold_out" || status.status === "closed") {
        throw new SaleOverError(status.status, status.message);
      }
      pauseMs = status.refresh_after_seconds * 1000 * (1 + LATE_SHARE * Math.random());
    } catch (error) {
      if (error instanceof ProblemError && error.code === "waiting_room_off") return open(error.message);
      if (!isPassing(error)) throw error;
      // Never gives up a place in line for a server that is away for a while.
      failures += 1;
      const serverMs = error instanceof ProblemError ? (error.retryAfterMs ?? 0) : 0;
      pauseMs = serverMs + backoffMs(failures, 1_000, LONGEST_PAUSE_MS);
    }
    await pause(pauseMs, signal);
  }
}

/** The admission to an event that has no waiting room now. */
function open(message: string): Admission {
  const none = { position: 0, estimated_wait_seconds: 0, refresh_after_seconds: 0 };
  return { token: undefined, status: { admitted: true, status: "open", message, ...none } };
}

function isPassing(error: unknown): boolean {
  if (error instanceof ProblemError) return PASSING.has(error.code);
  // Of a proxy whose server is away.
  if (error instanceof UnexpectedAnswerError) return error.status >= 500;
  return error instanceof NoAnswerError;
}
