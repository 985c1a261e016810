import { useSignal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import type { EventBody } from '../api/types';
import { Icon } from '../base/icons';
import { More } from '../base/ui';
import type { Message } from '../base/words';
import { go, pathOf } from './router';
import { events, watch, watchEvent } from './state';
import type { ArchivedStatus } from './types';

export function Bar({ children, actions }: { children: ComponentChildren; actions?: ComponentChildren }): JSX.Element {
  return (
    <header class="topbar">
      <div class="row grow crumbs">{children}</div>
      <Search />
      {actions}
    </header>
  );
}

/** Goes to a booking by its id, else to what is found. */
export function find(text: string): void {
  if (/^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(text)) go(pathOf('bookings', text.toLowerCase()));
  else go(`${pathOf('bookings')}?q=${encodeURIComponent(text)}`);
}

/** A booking, a buyer or a seat. */
function Search(): JSX.Element {
  const value = useSignal('');
  const submit = (event: Event) => {
    event.preventDefault();
    const text = value.value.trim();
    if (!text) return;
    value.value = '';
    find(text);
  };
  return (
    <form class="search" role="search" onSubmit={submit}>
      <Icon name="search" size={14} />
      <input id="search" aria-label="Booking, buyer or seat" placeholder="Booking, buyer or seat" value={value.value} onInput={(event) => (value.value = event.currentTarget.value)} />
      <kbd>/</kbd>
    </form>
  );
}

export function Note({ message }: { message: Message }): JSX.Element {
  return (
    <div class={`note ${message.tone}`} role={message.tone === 'bad' ? 'alert' : 'status'}>
      {message.text}
      <More detail={message.detail} trace={message.trace} />
    </div>
  );
}

const EVENT_BADGES: Record<EventBody['status'], [string, string]> = {
  ON_SALE: ['ok', 'On sale'],
  PAUSED: ['warn', 'Paused'],
  SCHEDULED: ['action', 'Scheduled'],
  CLOSED: ['', 'Closed'],
};
export function EventBadge({ status }: { status: EventBody['status'] }): JSX.Element {
  const [tone, text] = EVENT_BADGES[status];
  return <span class={`badge ${tone}`}><i class="dot" />{text}</span>;
}

export const BOOKING_WORDS: Record<ArchivedStatus, [string, string]> = {
  HOLD: ['action', 'Held'],
  CONFIRMING: ['warn', 'Paying'],
  COMMITTED: ['ok', 'Sold'],
  CONFIRMED: ['ok', 'Confirmed'],
  CANCELLED: ['', 'Cancelled'],
  EXPIRED: ['warn', 'Lapsed'],
  VOIDED: ['bad', 'Voided'],
};
export function BookingBadge({ status }: { status: ArchivedStatus }): JSX.Element {
  const [tone, text] = BOOKING_WORDS[status];
  return <span class={`badge ${tone}`}>{status === 'CONFIRMED' && <Icon name="check" size={12} />}{text}</span>;
}

/** Why requests for seats are refused, in words. */
export const REASON_WORDS: Record<string, string> = {
  seats_unavailable: 'Seat taken',
  too_few_seats: 'Too few seats left',
  event_closed: 'Sale closed',
  event_paused: 'Sale paused',
  not_on_sale: 'Not on sale yet',
  waiting_room_required: 'Not let in from the waiting room',
  waiting_room_token: 'Place in line not valid',
  user_limit: 'More than one buyer may have',
  orphan_seats: 'Would leave a single seat',
  rate_limit: 'Too many requests',
  other: 'Other',
};

/** A choice of one event for a whole page. */
export function EventPicker({ onChange }: { onChange?: (id: number) => void }): JSX.Element | null {
  const event = watch.value?.event.value;
  if (!event) return null;
  return (
    <label class="pick-event">
      <span class="sr">Event</span>
      <select
        value={event.id}
        onChange={(change) => {
          watchEvent(Number(change.currentTarget.value));
          onChange?.(Number(change.currentTarget.value));
        }}
      >
        {(events.value ?? [event]).map((one) => <option value={one.id}>{one.name}</option>)}
      </select>
      <Icon name="down" size={14} />
    </label>
  );
}

/** The places of a page's data: what it failed of, or that it is on its way. */
export function Waits({ of }: { of: { data: { value: unknown }; failure: { value: Message | null } } }): JSX.Element | null {
  if (of.failure.value) return <Note message={of.failure.value} />;
  return of.data.value === null ? <div class="skeleton tall" aria-busy="true" /> : null;
}
