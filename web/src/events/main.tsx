import '../base/theme.css';
import '../base/base.css';
import './events.css';
import { signal } from '@preact/signals';
import { render, type JSX } from 'preact';
import { pub } from '../api/client';
import type { EventBody } from '../api/types';
import { now, startClock } from '../base/clock';
import { formatCountdown, formatDayTime, formatNumber, formatWhen } from '../base/format';
import { Icon, Logo } from '../base/icons';
import { More, ThemeSwitch } from '../base/ui';
import { messageOf, type Message } from '../base/words';

const events = signal<EventBody[] | null>(null);
const total = signal(0);
const failure = signal<Message | null>(null);
const REFRESH_MS = 10_000;

async function load(): Promise<void> {
  try {
    const { body } = await pub.events();
    events.value = body.events;
    total.value = body.total;
    failure.value = null;
  } catch (error) {
    failure.value = messageOf(error);
  }
}

function App(): JSX.Element {
  const list = events.value;
  const isPast = (event: EventBody) => event.status === 'CLOSED';
  return (
    <div class="page">
      <header class="top">
        <Logo />
        <b class="grow">Holdfast</b>
        <a class="btn plain" href="/console">Console</a>
        <ThemeSwitch />
      </header>
      <main>
        <h1>Events</h1>
        {failure.value && (
          <div class={`note ${failure.value.tone}`} role="alert">
            {failure.value.text}
            <More detail={failure.value.detail} trace={failure.value.trace} />
          </div>
        )}
        {!list && !failure.value && <div class="skeleton tall" aria-busy="true" />}
        {list?.length === 0 && <p class="card empty">No events yet. <a href="/console/events">Create one in the console</a>.</p>}
        {list && (
          <ul class="list">
            {[...list].sort(bySale).map((event) => (
              <li key={event.id}><Row event={event} /></li>
            ))}
          </ul>
        )}
        {list && total.value > list.length && <p class="t3">{formatNumber(total.value - list.length)} more are in the API.</p>}
        {list?.some(isPast) && <p class="sr">Closed events come last.</p>}
      </main>
      <footer>
        <a href="/docs/">API documentation</a>
        <a href="/openapi.json">OpenAPI</a>
        <a href="/health">Health</a>
      </footer>
    </div>
  );
}

const ORDER = { ON_SALE: 0, SCHEDULED: 1, PAUSED: 0, CLOSED: 2 };
function bySale(a: EventBody, b: EventBody): number {
  return ORDER[a.status] - ORDER[b.status] || (a.starts_at ?? '9').localeCompare(b.starts_at ?? '9') || b.id - a.id;
}

function Row({ event }: { event: EventBody }): JSX.Element {
  const free = event.available_seats;
  const date = event.starts_at ? new Date(event.starts_at) : null;
  return (
    <a class="card event" href={`/events/${event.id}`}>
      <span class="date" aria-hidden="true">
        {date ? (
          <>
            <b>{date.getDate()}</b>
            {new Intl.DateTimeFormat(undefined, { month: 'short' }).format(date)}
          </>
        ) : (
          <b>–</b>
        )}
      </span>
      <span class="grow">
        <b class="name cut">{event.name}</b>
        <span class="t3 cut sub">{[event.venue, event.starts_at && formatWhen(event.starts_at)].filter(Boolean).join(' · ') || 'No time yet'}</span>
      </span>
      <span class="left">
        <State event={event} />
        {free != null && (
          <>
            <span class="meter"><i class="fill" style={{ width: `${(100 * free) / event.total_seats}%` }} /></span>
            <span class="t3 small">{formatNumber(free)} of {formatNumber(event.total_seats)} free</span>
          </>
        )}
      </span>
      <Icon name="right" />
    </a>
  );
}

function State({ event }: { event: EventBody }): JSX.Element {
  if (event.status === 'SCHEDULED') {
    const left = event.on_sale_at ? Date.parse(event.on_sale_at) - now.value : Infinity;
    const text = left < 86_400_000 && left > 0 ? `On sale in ${formatCountdown(left)}` : `On sale ${event.on_sale_at ? formatDayTime(event.on_sale_at) : 'later'}`;
    return <span class="badge action">{text}</span>;
  }
  if (event.status === 'PAUSED') return <span class="badge warn">Paused</span>;
  if (event.status === 'CLOSED') return <span class="badge">Closed</span>;
  if (event.is_sold_out) return <span class="badge">Sold out</span>;
  if (event.availability === 'FEW_LEFT') return <span class="badge warn">Few left</span>;
  return <span class="badge ok"><i class="dot" />On sale</span>;
}

startClock();
render(<App />, document.getElementById('app')!);
void load();
setInterval(() => !document.hidden && void load(), REFRESH_MS);
