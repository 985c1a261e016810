// The seats of an event as the server pushes them: a byte a seat.
import type { MessageOf, SeatStatus } from "./types.js";

const STATUS_OF_BYTE: Record<string, SeatStatus> = { a: "AVAILABLE", h: "HOLD", b: "BOOKED", x: "BLOCKED" };
const FORMAT = "1";

/** The states of all seats of an event, at a version. Seats are numbered from 1. */
export class SeatStates {
  readonly #states: SeatStatus[];
  readonly #rowStarts: Set<number>;
  readonly generation: number;
  #version: number;

  /** Reads the bytes of a snapshot, or of a seat map as `application/octet-stream`. */
  constructor(bytes: Uint8Array, generation: number, version: number) {
    if (bytes.length === 0 || String.fromCharCode(bytes[0]!) !== FORMAT) {
      throw new RangeError(`Not a seat map of format ${FORMAT}`);
    }
    this.#states = new Array<SeatStatus>(bytes.length - 1);
    this.#rowStarts = new Set();
    for (let seat = 1; seat < bytes.length; seat++) {
      const letter = String.fromCharCode(bytes[seat]!);
      const status = STATUS_OF_BYTE[letter.toLowerCase()];
      if (status === undefined) throw new RangeError(`Seat ${seat} has an unknown state: ${letter}`);
      this.#states[seat - 1] = status;
      if (letter !== letter.toLowerCase()) this.#rowStarts.add(seat);
    }
    this.generation = generation;
    this.#version = version;
  }

  static fromSnapshot(message: MessageOf<"snapshot">): SeatStates {
    const text = atob(message.bytes);
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    return new SeatStates(bytes, message.generation, message.version);
  }

  get version(): number {
    return this.#version;
  }

  get count(): number {
    return this.#states.length;
  }

  /** The state of a seat; `undefined` if there is no such seat. */
  of(seat: number): SeatStatus | undefined {
    return this.#states[seat - 1];
  }

  /** Whether a row, or a section without rows, begins with this seat. */
  beginsRow(seat: number): boolean {
    return this.#rowStarts.has(seat);
  }

  /** The seats in a state, ascending. */
  in(status: SeatStatus): number[] {
    return this.#states.flatMap((state, index) => (state === status ? [index + 1] : []));
  }

  /** Takes a change. `false`: changes before it are missing, a new snapshot is needed. */
  apply(message: MessageOf<"seat_update">): boolean {
    if (message.generation !== this.generation || message.since > this.#version) return false;
    for (const seat of message.seat_ids) this.#states[seat - 1] = message.status;
    this.#version = Math.max(this.#version, message.version);
    return true;
  }
}
