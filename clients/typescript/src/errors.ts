// What can go wrong. Everything that is thrown, other than an abort by the caller, is a HoldfastError.
import type { ErrorCode, Problem, ProblemSeat } from "./types.js";

/** The base of all errors of this library. */
export class HoldfastError extends Error {
  override readonly name: string = "HoldfastError";
}

/** No answer came: the server was not reached, or not in time. The operation may have happened. */
export class NoAnswerError extends HoldfastError {
  override readonly name = "NoAnswerError";
}

/** An answer that is no Holdfast answer, such as a proxy's error page. */
export class UnexpectedAnswerError extends HoldfastError {
  override readonly name = "UnexpectedAnswerError";
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** The server refused: a problem document. Compare `code`, show `message`, report `traceId`. */
export class ProblemError extends HoldfastError {
  override readonly name: string = "ProblemError";
  readonly code: ErrorCode;
  readonly status: number;
  readonly traceId: string;
  /** After which time the same request may succeed, where the server says so. */
  readonly retryAfterMs: number | undefined;

  constructor(readonly problem: Problem, retryAfterMs?: number) {
    super(problem.detail);
    this.code = problem.error;
    this.status = problem.status;
    this.traceId = problem.trace_id;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Some of the seats are taken. Nothing is held. */
export class SeatsUnavailableError extends ProblemError {
  override readonly name = "SeatsUnavailableError";
  /** The state of each seat that was named. */
  get seats(): ProblemSeat[] {
    return (this.problem.seats ?? []).filter((seat): seat is ProblemSeat => typeof seat === "object");
  }
  /** Groups of as many free seats, nearest first; empty unless the request asked for `alternatives`. */
  get alternatives(): number[][] {
    return this.problem.alternatives ?? [];
  }
}

/** A single seat would be left alone: choose other seats. */
export class OrphanSeatsError extends ProblemError {
  override readonly name = "OrphanSeatsError";
  get seatIds(): number[] {
    return (this.problem.seats ?? []).filter((seat): seat is number => typeof seat === "number");
  }
}

/** The event has a waiting room: join it, and send its token once it has admitted you. */
export class WaitingRoomRequiredError extends ProblemError {
  override readonly name = "WaitingRoomRequiredError";
}

/** The place in line or the session is over, or never was: join again. */
export class AdmissionInvalidError extends ProblemError {
  override readonly name = "AdmissionInvalidError";
  get reason(): Problem["reason"] {
    return this.problem.reason;
  }
}

/** The payment was declined. The seats are still held: another card may work. */
export class PaymentDeclinedError extends ProblemError {
  override readonly name = "PaymentDeclinedError";
}

/** The hold has expired. Nothing was charged. */
export class BookingExpiredError extends ProblemError {
  override readonly name = "BookingExpiredError";
}

/** Too many requests: wait `retryAfterMs`. */
export class RateLimitedError extends ProblemError {
  override readonly name = "RateLimitedError";
  get rule(): string | undefined {
    return this.problem.rule;
  }
}

/** Waiting is over without an admission: everything is sold, or the sale has ended. */
export class SaleOverError extends HoldfastError {
  override readonly name = "SaleOverError";
  constructor(readonly status: "sold_out" | "closed", message: string) {
    super(message);
  }
}

type ProblemClass = new (problem: Problem, retryAfterMs?: number) => ProblemError;

const CLASSES: Partial<Record<ErrorCode, ProblemClass>> = {
  seats_unavailable: SeatsUnavailableError,
  orphan_seats: OrphanSeatsError,
  waiting_room_required: WaitingRoomRequiredError,
  waiting_room_token_invalid: AdmissionInvalidError,
  payment_declined: PaymentDeclinedError,
  booking_expired: BookingExpiredError,
  rate_limit_exceeded: RateLimitedError,
  too_many_connections: RateLimitedError,
};

/** The error of a problem document. */
export function problemError(problem: Problem, retryAfterMs?: number): ProblemError {
  return new (CLASSES[problem.error] ?? ProblemError)(problem, retryAfterMs);
}

/** Whether a body is a problem document. */
export function isProblem(body: unknown): body is Problem {
  return typeof body === "object" && body !== null && "error" in body && "detail" in body && "status" in body;
}
