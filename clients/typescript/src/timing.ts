// Waiting: abortable, and with jitter, so that many clients do not come back in the same moment.

/** A random time in the upper half of `ms`. */
export function jittered(ms: number): number {
  return ms / 2 + Math.random() * (ms / 2);
}

/** The pause before attempt `attempt` (from 1): doubling from `firstMs` up to `mostMs`, jittered. */
export function backoffMs(attempt: number, firstMs: number, mostMs: number): number {
  return jittered(Math.min(mostMs, firstMs * 2 ** (attempt - 1)));
}

/** Waits, or throws the signal's reason. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(reasonOf(signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Why a signal was aborted. */
export function reasonOf(signal: AbortSignal | undefined): unknown {
  return signal?.reason ?? new DOMException("aborted", "AbortError");
}
