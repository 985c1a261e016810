import { useSignal, type Signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { formatMoney } from '../base/format';
import { BLOCKED, FREE, HELD, SOLD } from '../live/house';
import { seatPlace } from './names';
import { NO_ROW, type Row } from './plan';
import type { Scene } from './scene';
import type { MapView } from './view';

interface Props {
  scene: Scene;
  view: () => MapView | null;
  isChosen: (seat: number) => boolean;
  onToggle: (seat: number) => void;
  onHold: () => void;
  /** Rises when seats, names or the choice change. */
  changes: Signal<unknown>[];
}

const WORDS: Record<number, string> = { [FREE]: 'free', [HELD]: 'held by someone', [SOLD]: 'sold', [BLOCKED]: 'not for sale' };

function wordOf(scene: Scene, seat: number, isChosen: boolean): string {
  if (scene.yours.has(seat)) return 'yours';
  return isChosen && scene.house.state[seat] === FREE ? 'chosen' : WORDS[scene.house.state[seat]!]!;
}

/**
 * The map for keyboards and screen readers: one grid a section, of which only the current row and
 * its neighbours are in the page. The canvas draws the cursor.
 */
export function SeatGrid(props: Props): JSX.Element {
  const { scene } = props;
  const { plan, house } = scene;
  const cursor = useSignal(0);
  const hasFocus = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  /** The focused cell may leave the page when the cursor moves: that is no loss of focus. */
  const isMoving = useRef(false);
  for (const change of props.changes) void change.value;

  const first = plan.rows[0]?.first ?? 0;
  const seat = cursor.value || first;
  const rowIndex = plan.rowOf[seat] ?? NO_ROW;

  /** Brings the cursor into view, unless the focus came here without a key: then the map stays where it is. */
  const showCursor = () => {
    scene.cursor = seat;
    const view = props.view();
    if (root.current?.querySelector(':focus-visible')) view?.showSeat(seat, 16);
    view?.redrawOverlay();
  };
  useLayoutEffect(() => {
    if (!hasFocus.value) return;
    root.current?.querySelector<HTMLElement>('[tabindex="0"]')?.focus({ preventScroll: true });
    isMoving.current = false;
    showCursor();
  }, [cursor.value]);

  const onFocus = () => {
    if (hasFocus.value) return;
    hasFocus.value = true;
    cursor.value = seat;
    showCursor();
  };
  /** A screen reader's press. */
  const press = (to: number) => {
    isMoving.current = hasFocus.value && to !== cursor.value;
    cursor.value = to;
    props.onToggle(to);
  };
  const onBlur = (event: FocusEvent) => {
    if (isMoving.current || root.current?.contains(event.relatedTarget as Node)) return;
    hasFocus.value = false;
    scene.cursor = 0;
    props.view()?.redrawOverlay();
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === ' ') props.onToggle(seat);
    else if (event.key === 'Enter') props.onHold();
    else {
      const next = move(scene, seat, event.key);
      if (next === undefined) return;
      isMoving.current = next !== cursor.value;
      cursor.value = next;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div class="grids" ref={root} onFocusIn={onFocus} onFocusOut={onBlur} onKeyDown={onKey}>
      {house.sections.map((section, index) => {
        const area = plan.areas[index];
        if (!area || area.isPanel) return null;
        const isHere = rowIndex >= area.firstRow && rowIndex < area.endRow;
        const label = `${section.name}, ${formatMoney(section.price, scene.currency)}`;
        if (!isHere) return <OtherSection label={label} free={house.counts.value[index]?.free ?? 0} total={section.total_seats} onPress={() => (cursor.value = plan.rows[area.firstRow]?.first ?? seat)} />;
        const from = Math.max(area.firstRow, rowIndex - 1);
        const rows = plan.rows.slice(from, Math.min(area.endRow - 1, rowIndex + 1) + 1);
        const columns = Math.max(...plan.rows.slice(area.firstRow, area.endRow).map((row) => row.count));
        return (
          <div role="grid" aria-label={label} aria-rowcount={area.endRow - area.firstRow} aria-colcount={columns} aria-multiselectable="true">
            {rows.map((row, i) => (
              <GridRow scene={scene} row={row} index={from + i - area.firstRow + 1} current={seat} isCurrent={from + i === rowIndex} price={formatMoney(section.price, scene.currency)} isChosen={props.isChosen} onPress={press} />
            ))}
          </div>
        );
      })}
    </div>
  );
}

/** A section where the cursor is not: one cell stands for its seats. */
function OtherSection({ label, free, total, onPress }: { label: string; free: number; total: number; onPress: () => void }): JSX.Element {
  return (
    <div role="grid" aria-label={label}>
      <div role="row">
        <span role="gridcell" tabIndex={-1} aria-label={`${label}, ${free} of ${total} seats free`} onClick={onPress} />
      </div>
    </div>
  );
}

function GridRow(props: { scene: Scene; row: Row; index: number; current: number; isCurrent: boolean; price: string; isChosen: (seat: number) => boolean; onPress: (seat: number) => void }): JSX.Element {
  const { scene, row } = props;
  return (
    <div role="row" aria-rowindex={props.index}>
      {Array.from({ length: row.count }, (_, i) => {
        const seat = row.first + i;
        const chosen = props.isChosen(seat);
        return (
          <span
            role="gridcell"
            aria-colindex={i + 1}
            aria-selected={chosen}
            tabIndex={props.isCurrent && seat === props.current ? 0 : -1}
            aria-label={`${seatPlace(scene, seat)}, ${props.price}, ${wordOf(scene, seat, chosen)}`}
            onClick={() => props.onPress(seat)}
          />
        );
      })}
    </div>
  );
}

/** The seat that a key leads to. */
function move(scene: Scene, seat: number, key: string): number | undefined {
  const { plan } = scene;
  const index = plan.rowOf[seat] ?? NO_ROW;
  const row = plan.rows[index];
  if (!row) return undefined;
  const end = row.first + row.count - 1;
  switch (key) {
    case 'ArrowLeft':
      return Math.max(row.first, seat - 1);
    case 'ArrowRight':
      return Math.min(end, seat + 1);
    case 'Home':
      return row.first;
    case 'End':
      return end;
    case 'ArrowUp':
      return nearest(scene, seat, index - 1);
    case 'ArrowDown':
      return nearest(scene, seat, index + 1);
    case 'PageUp':
    case 'PageDown': {
      const areas = plan.areas.filter((area) => !area.isPanel);
      const at = areas.findIndex((area) => index >= area.firstRow && index < area.endRow);
      const area = areas[at + (key === 'PageUp' ? -1 : 1)];
      return area ? nearest(scene, seat, area.firstRow) : seat;
    }
    case 'f':
    case 'F':
      return nextFree(scene, seat);
    default:
      return undefined;
  }
}

/** The seat of another row that lies closest to this one. */
function nearest(scene: Scene, seat: number, index: number): number {
  const row = scene.plan.rows[index];
  if (!row) return seat;
  const x = scene.plan.x[seat]!;
  let best = row.first;
  for (let other = row.first; other < row.first + row.count; other++) {
    if (Math.abs(scene.plan.x[other]! - x) < Math.abs(scene.plan.x[best]! - x)) best = other;
  }
  return best;
}

function nextFree(scene: Scene, seat: number): number {
  const { total, state } = scene.house;
  for (let step = 1; step <= total; step++) {
    const other = ((seat + step - 1) % total) + 1;
    if (state[other] === FREE && scene.plan.rowOf[other] !== NO_ROW) return other;
  }
  return seat;
}
