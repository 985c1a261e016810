import { useComputed, useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { formatMoney, formatPriceShort } from '../base/format';
import { Icon } from '../base/icons';
import { Dialog } from '../base/ui';
import { takenText } from '../base/words';
import { SeatGrid } from '../map/Grid';
import { seatLabel, seatsLabel, sectionName } from '../map/names';
import { SeatMap } from '../map/SeatMap';
import { drawLook } from '../map/sprites';
import { readPalette } from '../map/palette';
import { tiersOf } from '../map/tiers';
import type { MapView } from '../map/view';
import type { Scene } from '../map/scene';
import { hold, take } from './hold';
import { isCoarse } from './left';
import type { Conflict, Sale } from './sale';

export interface MapHandle {
  view: MapView | null;
}

/** The height of the toast on a small screen, with its margins. */
const TOAST_NARROW = 180;
/** At this size neighbours can be told apart. */
const OFFERED_PITCH = 24;

/** Legend, map, grid for keys, and what lies over the map. */
export function MapArea({ sale, handle, isNarrow, sheet }: { sale: Sale; handle: MapHandle; isNarrow: boolean; sheet: number }): JSX.Element {
  const scene = sale.scene.value;
  const helps = useSignal(false);
  const isChosen = (seat: number) => sale.chosen.value.includes(seat);
  const seatsTick = useComputed(() => sale.house?.all.value);
  const insets = isNarrow ? { top: 12, right: 6, bottom: sheet + (sale.conflict.value ? TOAST_NARROW : 12), left: 6 } : { top: 16, right: 24, bottom: sale.conflict.value ? 130 : 20, left: 24 };
  useEffect(() => {
    sale.onMarks = (seats) => handle.view?.touch(seats);
    return () => {
      sale.onMarks = undefined;
    };
  }, [sale]);
  // What is offered lies in what the toast and the sheet leave free.
  const offered = sale.conflict.value?.alternatives[0];
  useEffect(() => {
    if (isNarrow && offered?.length) handle.view?.showSeat(offered[offered.length >> 1]!, OFFERED_PITCH);
  }, [offered]);
  useHelpKey(() => (helps.value = true));
  const names = sale.names.value;
  useEffect(() => handle.view?.redraw(), [names]);
  return (
    <section class="map-area" aria-label="Seat map">
      {isNarrow ? <Chips sale={sale} handle={handle} /> : <Legend sale={sale} handle={handle} onHelp={() => (helps.value = true)} />}
      <div class="map-box">
        {scene ? (
          <SeatMap
            scene={scene}
            insets={insets}
            controlsBottom={isNarrow ? sheet + 12 : sale.conflict.value ? 24 : 24}
            onView={(view) => (handle.view = view)}
            onPick={(hit) => {
              if (!hit) return;
              if (hit.seat) sale.toggle(hit.seat);
              else if (scene.plan.areas[hit.section]?.isPanel) sale.chooseGeneral(hit.section, (sale.general.value?.section === hit.section ? sale.general.value.quantity : 0) + 1);
            }}
          >
            <SeatGrid scene={scene} view={() => handle.view} isChosen={isChosen} onToggle={(seat) => sale.toggle(seat)} onHold={() => void hold(sale)} changes={[seatsTick, sale.names, sale.chosen, sale.booking]} />
          </SeatMap>
        ) : (
          <div class="map-wait skeleton" aria-hidden="true" />
        )}
        <Banner sale={sale} />
        <ConflictToast sale={sale} bottom={isNarrow ? sheet + 8 : 24} />
      </div>
      {helps.value && <Help onClose={() => (helps.value = false)} />}
    </section>
  );
}

function useHelpKey(open: () => void): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key === '?' && !(event.target instanceof HTMLInputElement)) open();
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, []);
}

const LOOK_SWATCHES = [
  { look: 5, label: 'Chosen' },
  { look: 8, label: 'Yours' },
  { look: 9, label: 'Held by others' },
  { look: 10, label: 'Sold' },
  { look: 11, label: 'Not for sale' },
];

function Swatch({ look }: { look: number }): JSX.Element {
  const ref = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const draw = () => {
      const ctx = ref.current?.getContext('2d');
      if (!ctx) return;
      ctx.setTransform(2, 0, 0, 2, 0, 0);
      ctx.clearRect(0, 0, 18, 18);
      ctx.translate(9, 9);
      drawLook(ctx, look, 15, readPalette());
    };
    draw();
    const media = matchMedia('(prefers-color-scheme: dark)');
    media.addEventListener('change', draw);
    window.addEventListener('themechange', draw);
    return () => {
      media.removeEventListener('change', draw);
      window.removeEventListener('themechange', draw);
    };
  }, [look]);
  return <canvas ref={ref} width={36} height={36} class="swatch" aria-hidden="true" />;
}

function Legend({ sale, handle, onHelp }: { sale: Sale; handle: MapHandle; onHelp: () => void }): JSX.Element {
  const event = sale.event.value!;
  const sections = event.sections ?? [];
  const tiers = [...new Set(tiersOf(sections))].sort();
  return (
    <div class="legend">
      <span class="row">
        <span class="tier-dots">{tiers.map((tier) => <i class={`dot tier${tier}`} />)}</span> Free, by price
      </span>
      {LOOK_SWATCHES.map(({ look, label }) => <span class="row swatch-item"><Swatch look={look} />{label}</span>)}
      <span class="grow" />
      <PriceFilter sale={sale} handle={handle} />
      <button type="button" class="btn plain icon" aria-label="Keys" title="Keys" onClick={onHelp}><Icon name="keyboard" /></button>
    </div>
  );
}

/** Fades the sections that cost more. */
function PriceFilter({ sale, handle }: { sale: Sale; handle: MapHandle }): JSX.Element | null {
  const event = sale.event.value!;
  const sections = event.sections ?? [];
  const prices = [...new Set(sections.map((section) => section.price))].sort((a, b) => b - a);
  if (prices.length < 2) return null;
  const filter = (value: string) => {
    const scene = sale.scene.value;
    if (!scene) return;
    scene.shown = value ? new Set(sections.flatMap((section, index) => (section.price <= Number(value) ? [index] : []))) : null;
    handle.view?.redraw();
  };
  return (
    <label class="price-filter">
      <span class="sr">Highest price</span>
      <select onChange={(change) => filter(change.currentTarget.value)}>
        <option value="">Any price</option>
        {prices.slice(1).map((price) => <option value={price}>Up to {formatPriceShort(price, event.currency)}</option>)}
      </select>
      <Icon name="down" size={14} />
    </label>
  );
}

/** Sections on a phone: a press shows one as large as it fits. */
function Chips({ sale, handle }: { sale: Sale; handle: MapHandle }): JSX.Element {
  const event = sale.event.value!;
  const sections = event.sections ?? [];
  const tiers = tiersOf(sections);
  const active = useSignal(-1);
  const show = (index: number) => {
    active.value = index;
    if (index < 0) handle.view?.fit();
    else handle.view?.showSection(index);
  };
  return (
    <nav class="section-chips" aria-label="Sections">
      <button type="button" aria-pressed={active.value === -1} onClick={() => show(-1)}>All</button>
      {sections.map((section, index) => (
        <button type="button" aria-pressed={active.value === index} onClick={() => show(index)}>
          <i class={`dot tier${tiers[index]}`} />
          {section.name} <span class="t3">{formatPriceShort(section.price, event.currency)}</span>
        </button>
      ))}
    </nav>
  );
}

/** What the map cannot say: it is out of date, or the sale does not go on. */
function Banner({ sale }: { sale: Sale }): JSX.Element | null {
  const event = sale.event.value!;
  const all = sale.house?.all.value;
  const isKnown = sale.house?.isKnown.value;
  const lost = sale.feed.connection.value === 'lost';
  let text = '';
  let tone = '';
  if (lost) [text, tone] = ['Connection lost. The map may be out of date. Reconnecting…', 'warn'];
  else if (event.status === 'PAUSED') [text, tone] = ['The sale is paused. Held seats can still be paid.', 'warn'];
  else if (event.status === 'CLOSED') text = 'The sale has ended.';
  else if (isKnown && all && all.free === 0) text = !all.held ? 'Sold out.' : isCoarse(event) ? 'No seat is free. Held seats may come back.' : `No seat is free. ${all.held} held ${all.held === 1 ? 'seat' : 'seats'} may come back.`;
  return text ? <div class={`map-banner ${tone}`} role="status">{text}</div> : null;
}

function ConflictToast({ sale, bottom }: { sale: Sale; bottom: number }): JSX.Element | null {
  const conflict = sale.conflict.value;
  const scene = sale.scene.value;
  return conflict && scene && <Toast sale={sale} conflict={conflict} scene={scene} bottom={bottom} />;
}

function Toast({ sale, conflict, scene, bottom }: { sale: Sale; conflict: Conflict; scene: Scene; bottom: number }): JSX.Element {
  const first = useRef<HTMLButtonElement>(null);
  const toast = useRef<HTMLElement>(null);
  useEffect(() => first.current?.focus(), [conflict]);
  // Before it goes, the focus that it has returns to the map.
  useLayoutEffect(
    () => () => {
      if (toast.current?.contains(document.activeElement)) document.querySelector<HTMLElement>('.grids [tabindex="0"]')?.focus({ preventScroll: true });
    },
    [],
  );
  const event = sale.event.value!;
  const words = conflict.isBest
    ? { title: conflict.wanted === 1 ? 'No seat is free for that' : `Fewer than ${conflict.wanted} seats are free for that`, text: 'Nothing is held. Take fewer, let them be apart, or raise the price.' }
    : takenText(conflict.taken.map((seat) => seatLabel(scene, seat)), conflict.wanted, conflict.alternatives.length);
  return (
    <section ref={toast} class="toast" role="alertdialog" aria-label={words.title} style={{ bottom: `${bottom}px` }}>
      <div class="grow toast-words">
        <h2>{words.title}</h2>
        <p class="t2">{words.text}</p>
      </div>
      {conflict.alternatives.map((seats, index) => (
        <button
          type="button"
          ref={index === 0 ? first : null}
          class={`alternative ${sale.alternative.value === index ? 'is-on' : ''}`}
          onFocus={() => {
            sale.alternative.value = index;
            sale.markSeats();
          }}
          onClick={() => void take(sale, index)}
        >
          <span class="row">
            <span class="number">{index + 1}</span>
            <b class="grow cut">{seatsLabel(scene, seats)}</b>
            <span>{formatMoney(seats.reduce((total, seat) => total + sale.house.priceOf(seat), 0), event.currency)}</span>
          </span>
          <span class="t3 small">{sectionName(scene, seats[0]!)} · {where(sale, seats)}</span>
        </button>
      ))}
      <button type="button" class="btn plain icon small" aria-label="Close" onClick={() => sale.dropConflict()}><Icon name="close" /></button>
    </section>
  );
}

/** Where seats lie beside those that were wanted. */
function where(sale: Sale, seats: number[]): string {
  const plan = sale.scene.value!.plan;
  const own = plan.rowOf[seats[0]!]!;
  const wanted = plan.rowOf[sale.chosen.value[0] ?? sale.conflict.value?.taken[0] ?? 0]!;
  const rows = own - wanted;
  if (rows === 0) return 'same row';
  const count = Math.abs(rows) === 1 ? 'one row' : `${Math.abs(rows)} rows`;
  return `${count} ${rows > 0 ? 'behind' : 'in front'}`;
}

const KEYS: [string, string][] = [
  ['← → ↑ ↓', 'Seat, row'],
  ['Home End', 'Ends of the row'],
  ['Page ↑ ↓', 'Section'],
  ['F', 'Next free seat'],
  ['Space', 'Choose'],
  ['Enter', 'Hold'],
  ['1 2', 'Take an alternative'],
  ['+ − 0', 'Zoom'],
  ['Esc', 'Close'],
];

function Help({ onClose }: { onClose: () => void }): JSX.Element {
  return (
    <Dialog title="Keys on the map" onClose={onClose}>
      <div class="keys">
        {KEYS.map(([keys, text]) => (
          <>
            <kbd>{keys}</kbd>
            <span>{text}</span>
          </>
        ))}
      </div>
      <div class="actions"><button type="button" class="btn" onClick={onClose}>Close</button></div>
    </Dialog>
  );
}
