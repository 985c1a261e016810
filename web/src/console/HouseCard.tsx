import { useSignal, type Signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { serverNow } from '../base/clock';
import { formatAge, formatNumber, formatUtcTime, plural } from '../base/format';
import { Button, Confirm, Segmented } from '../base/ui';
import { messageOf, type Message } from '../base/words';
import { BLOCKED, HELD } from '../live/house';
import type { Scene } from '../map/scene';
import { SeatMap } from '../map/SeatMap';
import type { MapView } from '../map/view';
import { admin } from './admin';
import { Note } from './parts';
import type { Demand } from './types';
import type { Watch } from './watch';

type Mode = 'state' | 'demand' | 'age';
const REDRAW_HEAT_MS = 2000;
const AGE_HOT_MS = 5 * 60_000;
/** A hold that has just begun is told from a seat that is not held. */
const AGE_FLOOR = 0.15;
const DEMAND_MS = 5000;
/** As many as the server takes in one request. */
const PORTION_SEATS = 1000;
const STATES = ['Free', 'Held', 'Sold', 'Blocked'];

/** The house: states, how often seats were held, how old holds are; and blocks by dragging. */
export function HouseCard({ watch: current }: { watch: Watch }): JSX.Element {
  const mode = useSignal<Mode>('state');
  const selects = useSignal(false);
  const selected = useSignal<number[]>([]);
  const view = useRef<MapView | null>(null);
  const scene = current.scene.value;
  const event = current.event.value!;
  const counts = current.house.counts.value;
  void current.names.value;

  const demand = useDemand(current, mode.value === 'demand');
  useEffect(() => {
    if (!scene) return;
    const redraw = () => {
      scene.heat = heatOf(mode.value, current, demand.value);
      view.current?.redraw();
    };
    redraw();
    const timer = setInterval(() => mode.value === 'age' && !document.hidden && redraw(), REDRAW_HEAT_MS);
    return () => clearInterval(timer);
  }, [scene, mode.value, current.names.value, demand.value]);

  const mark = (seats: number[]) => {
    if (!scene) return;
    const before = [...scene.chosen];
    selected.value = seats;
    scene.chosen = new Set(seats);
    view.current?.touch([...before, ...seats]);
  };
  const toggle = (seat: number) => mark(selected.value.includes(seat) ? selected.value.filter((one) => one !== seat) : [...selected.value, seat]);
  const total = plural(event.total_seats, 'seat');
  const since = demand.value ? `since ${formatUtcTime(demand.value.since, false)} UTC` : '–';
  const subtitle = mode.value === 'demand' ? `${total}, holds per seat ${since}` : mode.value === 'age' ? `${total}, how long seats are held` : total;
  return (
    <section class="card house-card">
      <div class="row head">
        <h2>House</h2>
        <span class="t3 grow cut">{subtitle}</span>
        <Button kind={`small ${selects.value ? 'is-on' : ''}`} aria-pressed={selects.value} onClick={() => {
          selects.value = !selects.value;
          if (!selects.value) mark([]);
          else mode.value = 'state';
        }}>House blocks</Button>
        <Segmented<Mode>
          label="What the map shows"
          value={mode.value}
          options={[{ value: 'state', label: 'State' }, { value: 'demand', label: 'Demand' }, { value: 'age', label: 'Age of holds' }]}
          onChange={(value) => (mode.value = value)}
        />
      </div>
      <div class="house-box">
        {scene && (
          <SeatMap
            scene={scene}
            insets={HOUSE_INSETS}
            onView={(map) => (view.current = map)}
            tip={(seat) => tipOf(current, seat, demand.value)}
            isSelecting={() => selects.value}
            onPick={(hit) => selects.value && hit?.seat && toggle(hit.seat)}
            onRectangle={(seats) => mark([...new Set([...selected.value, ...seats])])}
          />
        )}
        <div class="sections-over">
          <div class="row small t3"><span class="grow">Section</span><span>Free</span></div>
          {(event.sections ?? []).slice(0, 8).map((section, index) => {
            const count = counts[index];
            const share = (value = 0) => `${(100 * value) / section.total_seats}%`;
            return (
              <div class="over">
                <div class="row"><span class="grow cut">{section.name}</span><b>{formatNumber(count?.free)}</b></div>
                <div class="meter"><i class="fill free" style={{ width: share(count?.free) }} /><i class="fill held-solid" style={{ width: share(count?.held) }} /></div>
              </div>
            );
          })}
        </div>
        {mode.value !== 'state' && (
          <div class="scale">
            <span class="t3 small">{mode.value === 'demand' ? 'Holds per seat' : 'Age of holds'}</span>
            <div class="row small t3">{mode.value === 'demand' ? '0' : 'new'}<i />{mode.value === 'demand' ? formatNumber(Math.max(1, demand.value?.max_held ?? 1)) : '5 min'}</div>
          </div>
        )}
        {selects.value && <BlockBar watch={current} seats={selected.value} onDone={() => mark([])} />}
      </div>
    </section>
  );
}

/** The list of sections lies beside the map, where there is room for it. */
const HOUSE_INSETS = { top: 12, right: 64, bottom: 12, left: matchMedia('(max-width: 760px)').matches ? 16 : 184 };

/** Holds of each seat, from the booking log; read while they are looked at. */
function useDemand(current: Watch, isWanted: boolean): Signal<Demand | null> {
  const demand = useSignal<Demand | null>(null);
  useEffect(() => {
    if (!isWanted) return;
    const load = () =>
      admin.demand(current.id).then(
        ({ body }) => (demand.value = body),
        (error: unknown) => console.warn('No demand', error),
      );
    void load();
    const timer = setInterval(() => !document.hidden && void load(), DEMAND_MS);
    return () => clearInterval(timer);
  }, [current.id, isWanted]);
  return demand;
}

/** The colour of each seat, from 0 to 1. */
function heatOf(mode: Mode, current: Watch, demand: Demand | null): Scene['heat'] {
  if (mode === 'state') return null;
  if (mode === 'demand') return (seat) => (demand?.held[seat - 1] ?? 0) / Math.max(1, demand?.max_held ?? 1);
  return (seat) => (current.since[seat] && current.house.state[seat] === HELD ? AGE_FLOOR + ((1 - AGE_FLOOR) * (serverNow() - current.since[seat]!)) / AGE_HOT_MS : 0);
}

function tipOf(current: Watch, seat: number, demand: Demand | null): string {
  const state = STATES[current.house.state[seat]!]!;
  const since = current.since[seat] ? ` for ${formatAge(serverNow() - current.since[seat]!)}` : '';
  const holds = demand?.held[seat - 1] ?? 0;
  return `${state}${since}${holds ? ` · held ${plural(holds, 'time')}, came back ${formatNumber(demand?.returned[seat - 1] ?? 0)}` : ''}`;
}

/** Blocks or releases the seats that were drawn around. */
function BlockBar({ watch: current, seats, onDone }: { watch: Watch; seats: number[]; onDone: () => void }): JSX.Element {
  const reason = useSignal('');
  const asks = useSignal<'block' | 'release' | null>(null);
  const busy = useSignal(false);
  const failure = useSignal<Message | null>(null);
  const said = useSignal('');
  const blocked = seats.filter((seat) => current.house.state[seat] === BLOCKED);
  const free = seats.filter((seat) => current.house.state[seat] === 0);
  const which = asks.value === 'release' ? blocked : free;
  const act = async () => {
    busy.value = true;
    failure.value = null;
    let changed = 0;
    try {
      // Each portion is decided by itself; what is done is no longer among `which` when this is tried again.
      const send = asks.value === 'release' ? admin.release : admin.block;
      for (let from = 0; from < which.length; from += PORTION_SEATS) {
        changed += (await send(current.id, which.slice(from, from + PORTION_SEATS), reason.value.trim())).body.changed;
      }
      said.value = `${plural(changed, 'seat')} ${asks.value === 'release' ? 'released' : 'blocked'}.`;
      asks.value = null;
      onDone();
    } catch (error) {
      const message = messageOf(error);
      failure.value = changed ? { ...message, text: `${message.text} ${plural(changed, 'seat')} of ${formatNumber(which.length)} were done before.` } : message;
    }
    busy.value = false;
  };
  return (
    <div class="block-bar">
      <span class="grow" role="status">{seats.length ? `${plural(seats.length, 'seat')} chosen: ${free.length} free, ${blocked.length} blocked` : said.value || 'Drag over seats to choose them.'}</span>
      <input class="input" placeholder="Reason" aria-label="Reason" maxLength={100} value={reason.value} onInput={(event) => (reason.value = event.currentTarget.value)} />
      <Button kind="small" disabled={!free.length || !reason.value.trim()} onClick={() => (asks.value = 'block')}>Block {free.length || ''}</Button>
      <Button kind="small" disabled={!blocked.length || !reason.value.trim()} onClick={() => (asks.value = 'release')}>Release {blocked.length || ''}</Button>
      {asks.value && (
        <Confirm
          title={`${asks.value === 'block' ? 'Block' : 'Release'} ${plural(which.length, 'seat')}?`}
          effect={asks.value === 'block' ? `They cannot be held until they are released. Reason: ${reason.value}.` : `They go on sale at once. Reason: ${reason.value}.`}
          verb={asks.value === 'block' ? 'Block seats' : 'Release seats'}
          keep="Back"
          busy={busy.value}
          error={failure.value && <Note message={failure.value} />}
          onConfirm={() => void act()}
          onClose={() => (asks.value = null)}
        />
      )}
    </div>
  );
}
