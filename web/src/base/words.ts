import { Offline, Problem } from '../api/http';
import { countWord, formatAge } from './format';

/** What a person is told: a short text, and what the server said about it behind "More". */
export interface Message {
  tone: 'bad' | 'warn' | 'ok' | 'action';
  text: string;
  detail?: string | undefined;
  trace?: string | undefined;
  /** When the same may be tried again, milliseconds. */
  retryAt?: number | undefined;
}

const PROBLEMS: Record<string, string> = {
  event_paused: 'The sale is paused. Held seats can still be paid.',
  event_closed: 'The sale has ended.',
  not_on_sale: 'The sale has not begun.',
  sold_out: 'Sold out.',
  user_limit: 'That is more than one buyer may have here.',
  orphan_seats: 'This choice leaves a single seat alone. Move it by one seat.',
  booking_expired: 'Your hold has ended. Nothing was charged.',
  booking_unknown: 'This booking is not known here.',
  hold_cap_reached: 'These seats cannot be held any longer.',
  attempts_exhausted: 'No further payment can be tried for these seats.',
  in_flight: 'A payment is under way. Do not pay again.',
  booking_confirming: 'We are confirming your payment. Do not pay again.',
  booking_cancelled: 'This booking is cancelled.',
  sale_voided: 'These seats went to someone else. Your money is being refunded.',
  cancellation_closed: 'This booking cannot be cancelled any more.',
  payment_not_possible: 'These seats cannot be paid in this way.',
  amount_mismatch: 'The price has changed. Look at it again.',
  waiting_room_required: 'This sale has a waiting room.',
  waiting_room_token_invalid: 'Your place in line has ended.',
  waiting_room_closed: 'The line lets nobody in now.',
  token_expired: 'Your sign-in has expired. Go back to the shop and sign in again.',
  token_invalid: 'Your sign-in is not valid. Go back to the shop and sign in again.',
  identity_missing: 'Sign in at the shop to hold seats.',
  identity_untrusted: 'Sign in at the shop to hold seats.',
  automated_access: 'This browser looks like a program to the server.',
  event_unknown: 'There is no such event.',
  event_unloaded: 'This event is over.',
  admin_key_wrong: 'This is not an admin key.',
  admin_key_missing: 'An admin key is needed.',
};

/** What to say about an error. `safe`: what is true if nothing has happened. */
export function messageOf(error: unknown, safe = ''): Message {
  if (error instanceof Problem) {
    const wait = error.retryAfterSeconds;
    const base = { detail: error.body.detail, trace: error.body.trace_id, retryAt: wait ? Date.now() + wait * 1000 : undefined };
    if (error.status === 429) return { tone: 'warn', text: `Try again in ${formatAge((wait ?? 1) * 1000)}.`, ...base };
    if (error.code === 'outcome_unknown') return { tone: 'warn', text: 'It is not known yet whether this happened. Look again in a moment.', ...base };
    // Only this one says that nothing has happened.
    const isSafe = safe && error.code === 'service_unavailable';
    if (error.status === 503) return { tone: 'warn', text: `Not available right now.${isSafe ? ` ${safe}` : ''}`, ...base };
    const text = PROBLEMS[error.code] ?? error.body.title;
    return { tone: error.code === 'event_paused' || error.code === 'in_flight' ? 'warn' : 'bad', text, ...base };
  }
  if (error instanceof Offline) return { tone: 'warn', text: 'No answer from the server.' };
  return { tone: 'bad', text: 'This page has a defect.', detail: String(error) };
}

export function takenText(labels: string[], wanted: number, offers: number): { title: string; text: string } {
  const was = labels.length === 1 ? 'was' : 'were';
  const seats = wanted === 1 ? 'One seat' : `${countWord(wanted)} seats together`;
  return {
    title: `${labels.join(', ')} ${was} taken a moment ago`,
    text: offers ? `Nothing is held yet. ${seats}, nearest to your choice:` : 'Nothing is held yet. No others are free nearby. Choose again on the map.',
  };
}
