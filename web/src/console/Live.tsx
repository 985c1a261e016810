import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { now } from '../base/clock';
import { formatAge, formatMoney, formatNumber, formatRate, plural } from '../base/format';
import { Icon } from '../base/icons';
import { Button, Confirm } from '../base/ui';
import { messageOf, type Message } from '../base/words';
import { seatsLabel, sectionName } from '../map/names';
import { admin } from './admin';
import { Sparkline, StackedBars } from './charts';
import { HouseCard } from './HouseCard';
import { followMetrics, metricsLost, rates, sample } from './metrics';
import { Bar, EventBadge, Note } from './parts';
import { RoomCard } from './RoomCard';
import { go, pathOf } from './router';
import { events, eventsFailure, health, healthLost, loadEvents, watch, watchEvent } from './state';
import type { Entry, Watch } from './watch';

export function Live(): JSX.Element {
  useEffect(followMetrics, []);
  const current = watch.value;
  const event = current?.event.value;
  if (!current || !event) {
    const failure = current?.failure.value ?? eventsFailure.value;
    return (
      <>
        <Bar><h1>Live</h1></Bar>
        <main class="body">
          {failure && <Note message={failure} />}
          {events.value?.length === 0 && <p class="card empty">No events yet. <a href="/console/events">Create one</a>.</p>}
          {!failure && events.value?.length !== 0 && <div class="skeleton tall" aria-busy="true" />}
        </main>
      </>
    );
  }
  return (
    <>
      <Bar actions={<Pause watch={current} />}>
        <span class="t3 wide-only">Live</span>
        <span class="t3 wide-only"><Icon name="right" size={12} /></span>
        <h1 class="sr">{event.name}</h1>
        <label class="pick-event">
          <span class="sr">Event</span>
          <select value={event.id} onChange={(change) => {
            watchEvent(Number(change.currentTarget.value));
            go(pathOf('live', change.currentTarget.value));
          }}>
            {(events.value ?? [event]).map((one) => <option value={one.id}>{one.name}</option>)}
          </select>
          <Icon name="down" size={14} />
        </label>
        <EventBadge status={event.status} />
        {event.status === 'ON_SALE' && event.on_sale_at && <span class="t3 wide-only">for {formatAge(now.value - Date.parse(event.on_sale_at))}</span>}
        {current.feed?.connection.value === 'lost' && <span class="badge bad">Connection lost</span>}
      </Bar>
      <main class="body live">
        <Tiles watch={current} />
        <div class="columns">
          <div class="stack">
            <HouseCard watch={current} key={current.id} />
            <Requests />
          </div>
          <div class="stack">
            <RoomCard watch={current} />
            <Changes watch={current} />
            <HealthCard />
          </div>
        </div>
      </main>
    </>
  );
}

function Tile(props: { label: string; value: string; unit: string; values: number[]; tone: string }): JSX.Element {
  return (
    <div class="card tile">
      <span class="t3">{props.label}</span>
      <p><b>{props.value}</b> <span class="t3">{props.unit}</span></p>
      <Sparkline values={props.values} tone={props.tone} />
    </div>
  );
}

function Tiles({ watch: current }: { watch: Watch }): JSX.Element {
  const event = current.event.value!;
  const isKnown = current.house.isKnown.value;
  const all = current.house.all.value;
  const series = current.series.value;
  const rate = rates.value[rates.value.length - 1];
  const money = (state: 'held' | 'sold') => (isKnown ? formatMoney(current.takings(state), event.currency) : '–');
  const count = (value: number) => (isKnown ? formatNumber(value) : '–');
  return (
    <section class="tiles" aria-label="Figures">
      <Tile label="Free" value={count(all.free)} unit={`of ${formatNumber(event.total_seats)}`} values={series.map((point) => point.free)} tone="action" />
      <Tile label="Held" value={count(all.held)} unit={money('held')} values={series.map((point) => point.held)} tone="warn" />
      <Tile label="Sold" value={count(all.sold)} unit={money('sold')} values={series.map((point) => point.sold)} tone="ok" />
      <Tile label="Holds granted" value={rate ? formatRate(rate.granted) : '–'} unit="a second" values={rates.value.map((point) => point.granted)} tone="action" />
      <Tile label="Refused" value={rate ? formatRate(rate.taken + rate.gated) : '–'} unit="a second" values={rates.value.map((point) => point.taken + point.gated)} tone="none" />
      <Tile label="Archive behind" value="–" unit="" values={[]} tone="ok" />
    </section>
  );
}

/** What became of requests for seats: of the API process that answers, since this page opened. */
function Requests(): JSX.Element {
  const list = rates.value;
  const to = Date.now();
  const first = list[0]?.at ?? to - 60_000;
  const from = Math.max(to - 15 * 60_000, Math.min(first, to - 5 * 60_000));
  const last = sample.value;
  // As many bars as fit: neighbours are averaged.
  const group = Math.max(1, Math.ceil(list.length / 110));
  const bars = [];
  for (let i = 0; i < list.length; i += group) {
    const part = list.slice(i, i + group);
    const mean = (name: 'granted' | 'taken' | 'gated') => part.reduce((sum, one) => sum + one[name], 0) / part.length;
    bars.push({ at: part[0]!.at, parts: [mean('granted'), mean('taken'), mean('gated')] });
  }
  return (
    <section class="card requests">
      <div class="row head">
        <h2>Requests for seats</h2>
        <span class="t3">a second, last {Math.round((to - from) / 60_000)} minutes</span>
        <span class="grow" />
        <span class="key"><i class="granted" />Held</span>
        <span class="key"><i class="taken" />Seat taken</span>
        <span class="key"><i class="gated" />Waiting room or limit</span>
      </div>
      {metricsLost.value && <p class="note warn">No metrics from the server right now.</p>}
      <StackedBars bars={bars} tones={['granted', 'taken', 'gated']} from={from} to={to} label="Requests for seats a second" />
      <dl class="places">
        {(
          [
            ['Refused in memory', last?.memory],
            ['by Redis', last?.redis],
            ['by the waiting room', last?.room],
            ['by limits', last?.limits],
            ['Held', last?.granted],
            ['Paid', last?.confirmed],
          ] as const
        ).map(([label, value]) => (
          <div>
            <dt>{label}</dt>
            <dd>{formatNumber(value)}</dd>
          </div>
        ))}
      </dl>
      <p class="t3 small">One API process since it started; all of them once the overview route exists.</p>
    </section>
  );
}

const KINDS: Record<Entry['kind'], [string, string]> = { held: ['action', 'Held'], sold: ['ok', 'Sold'], back: ['warn', 'Came back'], blocked: ['none', 'Blocked'] };

/** Seats as they change; the newest first. */
function Changes({ watch: current }: { watch: Watch }): JSX.Element {
  const scene = current.scene.value;
  void current.names.value;
  const isLive = current.feed?.connection.value === 'live';
  return (
    <section class="card feed">
      <div class="row head">
        <h2>Seats</h2>
        <span class={`badge ${isLive ? 'ok' : 'bad'}`}><i class="dot" />{isLive ? 'Live' : 'Offline'}</span>
        <span class="grow" />
        <a href="/console/bookings">Bookings</a>
      </div>
      {current.log.value.length === 0 && <p class="empty">No changes yet. They appear here as they happen.</p>}
      <ol>
        {scene &&
          current.log.value.slice(0, 14).map((entry) => {
            const [tone, word] = KINDS[entry.kind];
            const sum = entry.seats.reduce((total, seat) => total + current.house.priceOf(seat), 0);
            const seats = entry.seats.length > 2 ? `${seatsLabel(scene, [entry.seats[0]!])} to ${seatsLabel(scene, entry.seats).split(', ').pop()}` : seatsLabel(scene, entry.seats);
            return (
              <li key={`${entry.at}-${entry.seats[0]}-${entry.kind}`}>
                <time class="t3">{new Date(entry.at).toISOString().slice(11, 19)}</time>
                <span class={`word ${tone}`}><i class={`dot ${tone}`} />{word}</span>
                <span class="grow cut">{sectionName(scene, entry.seats[0]!)} {seats}</span>
                <b>{entry.kind === 'blocked' ? '' : formatMoney(sum, scene.currency)}</b>
              </li>
            );
          })}
      </ol>
    </section>
  );
}

const CHECKS: [string, string][] = [
  ['redis', 'Redis'],
  ['mongodb', 'MongoDB'],
  ['live', 'Live view'],
  ['tasks', 'Background tasks'],
];

function HealthCard(): JSX.Element {
  const state = health.value;
  const failing = state?.body.failing_tasks ?? [];
  return (
    <section class="card health">
      <div class="row head">
        <h2>Health</h2>
        <span class="grow" />
        <span class="t3 small">{healthLost.value ? 'no answer' : state ? `${formatAge(Math.max(0, now.value - state.at))} ago` : ''}</span>
      </div>
      <ul>
        {CHECKS.map(([name, label]) => {
          const word = healthLost.value ? undefined : state?.body.checks[name];
          return (
            <li class={word === 'ok' ? 'ok' : word ? 'bad' : ''}>
              <Icon name={word === 'ok' ? 'check' : word ? 'warn' : 'minus'} />
              <span class="grow">{label}</span>
              <span class="t3">{name === 'tasks' && failing.length ? failing.join(', ') : (word ?? '–')}</span>
            </li>
          );
        })}
        <li>
          <Icon name="minus" />
          <span class="grow">Dead letters</span>
          <span class="t3">–</span>
        </li>
      </ul>
    </section>
  );
}

/** Pauses and resumes, after it has said what will happen. */
function Pause({ watch: current }: { watch: Watch }): JSX.Element | null {
  const asks = useSignal(false);
  const busy = useSignal(false);
  const failure = useSignal<Message | null>(null);
  const event = current.event.value!;
  if (event.status !== 'ON_SALE' && event.status !== 'PAUSED') return null;
  const pauses = event.status === 'ON_SALE';
  const { held } = current.house.all.value;
  const change = async () => {
    busy.value = true;
    failure.value = null;
    try {
      current.event.value = (await admin.changeEvent(event.id, { status: pauses ? 'PAUSED' : 'ON_SALE' })).body;
      asks.value = false;
      void loadEvents();
    } catch (error) {
      failure.value = messageOf(error);
    }
    busy.value = false;
  };
  return (
    <>
      <Button icon={pauses ? 'pause' : 'play'} onClick={() => (asks.value = true)}>{pauses ? 'Pause sale' : 'Resume sale'}</Button>
      {asks.value && (
        <Confirm
          title={pauses ? `Pause ${event.name}?` : `Resume ${event.name}?`}
          effect={pauses ? `New holds stop at once. ${plural(held, 'held seat')} can still be paid.` : 'Seats can be held again at once.'}
          verb={pauses ? 'Pause sale' : 'Resume sale'}
          keep={pauses ? 'Keep selling' : 'Keep paused'}
          busy={busy.value}
          error={failure.value && <Note message={failure.value} />}
          onConfirm={() => void change()}
          onClose={() => (asks.value = false)}
        />
      )}
    </>
  );
}
