// Bookings on their way to MongoDB.

const BATCH = 1_000;
const WAITING_MAX = 200_000;
const RETRY_PAUSE_MS = 200;
/** MongoDB's code for an `_id` that is there already. */
const DUPLICATE_KEY = 11_000;

/** Writes bookings in the background, as many at once as have come in meanwhile. */
export class Writer {
  #bookings;
  #waiting = [];
  #writing = undefined;

  constructor(bookings) {
    this.#bookings = bookings;
  }

  /** Whether MongoDB is so far behind that nothing more should be sold. */
  get isFull() {
    return this.#waiting.length >= WAITING_MAX;
  }

  /** Takes a booking; returns at once. */
  add(booking) {
    this.#waiting.push(booking);
    this.#writing ??= this.#write();
  }

  /** Returns once everything is written. */
  async drain() {
    while (this.#writing) await this.#writing;
  }

  async #write() {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, BATCH);
      try {
        await this.#bookings.insertMany(batch, { ordered: false });
      } catch (error) {
        // Those that are there already came through in an earlier attempt.
        if (areDuplicates(error.writeErrors)) continue;
        console.error(`bookings wait to be written: ${error.message}`);
        this.#waiting.unshift(...batch);
        await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS));
      }
    }
    this.#writing = undefined;
  }
}

function areDuplicates(errors) {
  return errors?.length > 0 && errors.every((one) => one.code === DUPLICATE_KEY);
}
