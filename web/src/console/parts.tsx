import { useSignal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import type { Booking, EventBody } from '../api/types';
import { Icon } from '../base/icons';
import { More } from '../base/ui';
import type { Message } from '../base/words';
import { go, pathOf } from './router';

export function Bar({ children, actions }: { children: ComponentChildren; actions?: ComponentChildren }): JSX.Element {
  return (
    <header class="topbar">
      <div class="row grow crumbs">{children}</div>
      <Search />
      {actions}
    </header>
  );
}

/** A booking by its id, or a buyer's bookings. */
function Search(): JSX.Element {
  const value = useSignal('');
  const submit = (event: Event) => {
    event.preventDefault();
    const text = value.value.trim();
    if (!text) return;
    value.value = '';
    if (/^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(text)) go(pathOf('bookings', text.toLowerCase()));
    else go(`${pathOf('bookings')}?buyer=${encodeURIComponent(text)}`);
  };
  return (
    <form class="search" role="search" onSubmit={submit}>
      <Icon name="search" size={14} />
      <input id="search" aria-label="Booking or buyer" placeholder="Booking or buyer" value={value.value} onInput={(event) => (value.value = event.currentTarget.value)} />
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

const BOOKING_BADGES: Record<Booking['status'], [string, string]> = {
  HOLD: ['action', 'Held'],
  CONFIRMING: ['warn', 'Paying'],
  CONFIRMED: ['ok', 'Confirmed'],
  CANCELLED: ['', 'Cancelled'],
  EXPIRED: ['warn', 'Lapsed'],
  VOIDED: ['bad', 'Voided'],
};
export function BookingBadge({ status }: { status: Booking['status'] }): JSX.Element {
  const [tone, text] = BOOKING_BADGES[status];
  return <span class={`badge ${tone}`}>{status === 'CONFIRMED' && <Icon name="check" size={12} />}{text}</span>;
}
