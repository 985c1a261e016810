import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { token, user, setUser } from '../api/identity';
import { formatNumber, formatWhen, formatWhenShort } from '../base/format';
import { Logo } from '../base/icons';
import { Button, Dialog, ThemeSwitch } from '../base/ui';
import { isCoarse, leftWord } from './left';
import type { Sale } from './sale';

export function Header({ sale }: { sale: Sale }): JSX.Element {
  const event = sale.event.value;
  return (
    <header class="bar">
      <a href="/" aria-label="All events" class="home"><Logo /></a>
      <span class="rule wide-only" />
      <div class="grow">
        <h1 class="cut">{event?.name ?? ' '}</h1>
        <p class="t3 cut">
          {event && [event.venue, event.starts_at && <When iso={event.starts_at} />].filter(Boolean).map((part, index) => <>{index > 0 && ' · '}{part}</>)}
        </p>
      </div>
      {event && <Status sale={sale} />}
      <span class="wide-only"><ThemeSwitch /></span>
      <span class="rule wide-only" />
      <UserMenu />
    </header>
  );
}

function When({ iso }: { iso: string }): JSX.Element {
  return (
    <time dateTime={iso}>
      <span class="wide-only">{formatWhen(iso)}</span>
      <span class="narrow-only">{formatWhenShort(iso)}</span>
    </time>
  );
}

/** Whether the map is current, and what is left. */
function Status({ sale }: { sale: Sale }): JSX.Element {
  const event = sale.event.value!;
  const connection = sale.feed.connection.value ?? 'connecting';
  const isKnown = sale.house?.isKnown.value;
  const free = isKnown ? sale.house.all.value.free : event.available_seats;
  const badge = statusBadge(event.status, connection);
  const left = free != null && isCoarse(event) ? leftWord(free, event.total_seats) : null;
  return (
    <div class="row status">
      <span class={`badge pill ${badge.tone}`}>
        <i class="dot" />
        <span class="wide-only">{badge.text}</span>
        <span class="narrow-only">{badge.tone === 'ok' && free != null ? (left ?? `${formatNumber(free)} free`) : badge.text}</span>
      </span>
      {free != null && (
        <span class="wide-only">
          {left ? <b>{left}</b> : <><b>{formatNumber(free)}</b> <span class="t2">of {formatNumber(event.total_seats)} seats free</span></>}
        </span>
      )}
    </div>
  );
}

function statusBadge(status: string, connection: string): { tone: string; text: string } {
  if (connection === 'lost') return { tone: 'bad', text: 'Offline' };
  if (status === 'PAUSED') return { tone: 'warn', text: 'Paused' };
  if (status === 'CLOSED') return { tone: '', text: 'Closed' };
  if (status === 'SCHEDULED') return { tone: 'action', text: 'Soon' };
  return connection === 'live' ? { tone: 'ok', text: 'Live' } : { tone: '', text: 'Connecting' };
}

/** Who the buyer is. With a token the shop says it; without, a name on this device. */
function UserMenu(): JSX.Element {
  const isOpen = useSignal(false);
  const name = useSignal(user.value);
  const save = (event: Event) => {
    event.preventDefault();
    const value = name.value.trim();
    if (!value || value === user.value) return void (isOpen.value = false);
    setUser(value);
    location.reload();
  };
  return (
    <>
      <button type="button" class="user" title={user.value} onClick={() => (isOpen.value = true)}>
        <span class="initial" aria-hidden="true">{user.value.slice(0, 1).toUpperCase()}</span>
        <span class="sr">Buyer</span>
        <span class="wide-only cut">{user.value}</span>
        <span class="narrow-only sr">{user.value}</span>
      </button>
      {isOpen.value && (
        <Dialog title="Who you are" onClose={() => (isOpen.value = false)}>
          {token ? (
            <p class="t2">Signed in by the shop as {user.value}.</p>
          ) : (
            <form onSubmit={save}>
              <p class="t2">This server trusts the name that a page gives. Holds and bookings belong to it.</p>
              <label class="field name-field">
                <span>Name</span>
                <input class="input" value={name.value} maxLength={64} onInput={(event) => (name.value = event.currentTarget.value)} />
              </label>
              <div class="actions">
                <ThemeSwitch />
                <span class="grow" />
                <Button onClick={() => (isOpen.value = false)}>Back</Button>
                <Button kind="primary" type="submit">Use this name</Button>
              </div>
            </form>
          )}
        </Dialog>
      )}
    </>
  );
}
