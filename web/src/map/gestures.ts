import type { MapView } from './view';

const CLICK_SLOP = 6;
/** With a finger, smaller seats are not chosen but brought nearer. */
const TOUCH_PITCH_MIN = 18;

export interface GestureHandlers {
  onPick: (hit: { seat?: number; section: number } | null) => void;
  onHover: (hit: { seat?: number; section: number } | null, x: number, y: number) => void;
  /** A rectangle was drawn; without it a drag moves the map. */
  onRectangle?: (seats: number[]) => void;
  isSelecting?: () => boolean;
}

interface Point {
  x: number;
  y: number;
}

/** Pointer, wheel and pinch on the map. Returns how to stop. */
export function attachGestures(element: HTMLElement, view: MapView, handlers: GestureHandlers): () => void {
  const pointers = new Map<number, Point>();
  let start: Point | null = null;
  let isDrag = false;
  let isPinch = false;
  const controller = new AbortController();
  const at = (event: PointerEvent | WheelEvent): Point => {
    const box = element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const on = <K extends keyof HTMLElementEventMap>(type: K, listener: (event: HTMLElementEventMap[K]) => void, passive = true) =>
    element.addEventListener(type, listener, { signal: controller.signal, passive });

  on('pointerdown', (event) => {
    if (event.button !== 0) return;
    pointers.set(event.pointerId, at(event));
    element.setPointerCapture(event.pointerId);
    if (pointers.size === 1) {
      start = at(event);
      isDrag = isPinch = false;
    } else isPinch = true;
  });

  on('pointermove', (event) => {
    const point = at(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === 'mouse') handlers.onHover(view.hitAt(point.x, point.y), point.x, point.y);
      return;
    }
    if (pointers.size === 2) pinch(view, pointers, event.pointerId, point);
    else if (start) {
      isDrag ||= Math.hypot(point.x - start.x, point.y - start.y) > CLICK_SLOP;
      if (isDrag && handlers.isSelecting?.()) drawRectangle(view, start, point);
      else if (isDrag) {
        handlers.onHover(null, 0, 0);
        view.panBy(point.x - before.x, point.y - before.y);
      }
    }
    pointers.set(event.pointerId, point);
  });

  const end = (event: PointerEvent) => {
    if (!pointers.delete(event.pointerId)) return;
    if (pointers.size) return;
    const point = at(event);
    if (view.scene.drag) finishRectangle(view, handlers);
    else if (!isDrag && !isPinch && event.type === 'pointerup') pick(view, handlers, point, event.pointerType);
    start = null;
  };
  on('pointerup', end);
  on('pointercancel', end);
  on('pointerleave', () => handlers.onHover(null, 0, 0));
  on(
    'wheel',
    (event) => {
      event.preventDefault();
      const point = at(event);
      view.zoomAt(point.x, point.y, Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) * (event.ctrlKey ? 0.01 : 0.0025)));
    },
    false,
  );
  return () => controller.abort();
}

function pick(view: MapView, handlers: GestureHandlers, point: Point, pointer: string): void {
  const hit = view.hitAt(point.x, point.y);
  const area = hit && view.scene.plan.areas[hit.section];
  const isTooSmall = view.camera.pitch < (pointer === 'mouse' ? 6 : TOUCH_PITCH_MIN);
  if (hit && area && !area.isPanel && isTooSmall) {
    if (view.scene.plan.isRings && view.camera.pitch < 6) view.showSection(hit.section);
    else {
      const world = view.worldAt(point.x, point.y);
      view.flyTo({ ...world, pitch: 34 });
    }
    return;
  }
  handlers.onPick(hit);
}

function pinch(view: MapView, pointers: Map<number, Point>, moved: number, point: Point): void {
  const other = [...pointers].find(([id]) => id !== moved)?.[1];
  const before = pointers.get(moved);
  if (!other || !before) return;
  const spread = (a: Point) => Math.max(1, Math.hypot(a.x - other.x, a.y - other.y));
  view.panBy((point.x - before.x) / 2, (point.y - before.y) / 2);
  view.zoomAt((point.x + other.x) / 2, (point.y + other.y) / 2, spread(point) / spread(before));
}

function drawRectangle(view: MapView, from: Point, to: Point): void {
  const a = view.worldAt(from.x, from.y);
  const b = view.worldAt(to.x, to.y);
  view.scene.drag = { x0: Math.min(a.x, b.x), y0: Math.min(a.y, b.y), x1: Math.max(a.x, b.x), y1: Math.max(a.y, b.y) };
  view.redrawOverlay();
}

function finishRectangle(view: MapView, handlers: GestureHandlers): void {
  const { drag, plan } = view.scene;
  view.scene.drag = null;
  view.redrawOverlay();
  if (!drag) return;
  const seats: number[] = [];
  for (const row of plan.rows) {
    for (let seat = row.first; seat < row.first + row.count; seat++) {
      const x = plan.x[seat]!;
      const y = plan.y[seat]!;
      if (x >= drag.x0 && x <= drag.x1 && y >= drag.y0 && y <= drag.y1) seats.push(seat);
    }
  }
  handlers.onRectangle?.(seats);
}
