import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { now } from '../base/clock';
import { formatAge, formatMoney, formatNumber, formatRate, plural } from '../base/format';
import { Icon } from '../base/icons';
import { Button, Confirm } from '../base/ui';
import { messageOf, type Message } from '../base/words';
import { admin } from './admin';
import { Sparkline } from './charts';
import { HealthCard } from './HealthCard';
import { HouseCard } from './HouseCard';
import { LogCard } from './LogCard';
import { archive, overview, requestRates, seatHistory, trend } from './overview';
import { Bar, EventBadge, EventPicker, Note } from './parts';
import { Requests } from './Requests';
import { RoomCard } from './RoomCard';
import { go, pathOf } from './router';
import { events, eventsFailure, loadEvents, watch } from './state';
import type { Watch } from './watch';

/** From here on the archive is late enough to be looked at. */
const BEHIND_LATE_SECONDS = 30;

export function Live(): JSX.Element {
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
        <EventPicker onChange={(id) => go(pathOf('live', id))} />
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
            <LogCard id={current.id} currency={event.currency} key={current.id} />
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
  const rates = requestRates.value;
  const rate = rates[rates.length - 1];
  const seen = overview.value?.event?.id === event.id ? overview.value : undefined;
  const series = seen?.series;
  // While Redis does not have the event, nobody knows what is held and sold.
  const isLoaded = seen?.event?.takings !== null;
  const history = isKnown ? seatHistory(all, series) : { free: [], held: [], sold: [] };
  const behind = archive.value;
  const money = (state: 'held' | 'sold') => (isKnown ? formatMoney(isLoaded ? current.takings(state) : null, event.currency) : '');
  const count = (value: number) => (isKnown ? formatNumber(value) : '–');
  return (
    <section class="tiles" aria-label="Figures">
      <Tile label="Free" value={count(all.free)} unit={`of ${formatNumber(event.total_seats)}`} values={history.free} tone="action" />
      <Tile label="Held" value={count(all.held)} unit={money('held')} values={history.held} tone="warn" />
      <Tile label="Sold" value={count(all.sold)} unit={money('sold')} values={history.sold} tone="ok" />
      <Tile label="Holds granted" value={rate ? formatRate(rate.held) : '–'} unit="a second" values={rates.map((point) => point.held)} tone="action" />
      <Tile label="Refused" value={rate ? formatRate(rate.taken + rate.gated) : '–'} unit="a second" values={rates.map((point) => point.taken + point.gated)} tone="none" />
      <Tile label="Archive behind" value={behind ? formatAge(behind.seconds_behind * 1000) : '–'} unit={behind?.entries_behind == null ? '' : plural(behind.entries_behind, 'entry', 'entries')} values={trend.value.behind} tone={behind && behind.seconds_behind > BEHIND_LATE_SECONDS ? 'warn' : 'ok'} />
    </section>
  );
}

/** Pauses and resumes, after it has said what will happen. */
function Pause({ watch: current }: { watch: Watch }): JSX.Element | null {
  /** What was asked for: the sale may change while the question is open. */
  const asks = useSignal<'PAUSED' | 'ON_SALE' | null>(null);
  const busy = useSignal(false);
  const failure = useSignal<Message | null>(null);
  const event = current.event.value!;
  if (event.status !== 'ON_SALE' && event.status !== 'PAUSED' && !asks.value) return null;
  const isOnSale = event.status === 'ON_SALE';
  const pauses = asks.value === 'PAUSED';
  const { held } = current.house.all.value;
  const change = async () => {
    busy.value = true;
    failure.value = null;
    try {
      current.event.value = (await admin.changeEvent(event.id, { status: pauses ? 'PAUSED' : 'ON_SALE' })).body;
      asks.value = null;
      void loadEvents();
    } catch (error) {
      failure.value = messageOf(error);
    }
    busy.value = false;
  };
  return (
    <>
      <Button icon={isOnSale ? 'pause' : 'play'} onClick={() => (asks.value = isOnSale ? 'PAUSED' : 'ON_SALE')}>{isOnSale ? 'Pause sale' : 'Resume sale'}</Button>
      {asks.value && (
        <Confirm
          title={pauses ? `Pause ${event.name}?` : `Resume ${event.name}?`}
          effect={pauses ? `New holds stop at once. ${plural(held, 'held seat')} can still be paid.` : 'Seats can be held again at once.'}
          verb={pauses ? 'Pause sale' : 'Resume sale'}
          keep={pauses ? 'Keep selling' : 'Keep paused'}
          busy={busy.value}
          error={failure.value && <Note message={failure.value} />}
          onConfirm={() => void change()}
          onClose={() => {
            asks.value = null;
            failure.value = null;
          }}
        />
      )}
    </>
  );
}
