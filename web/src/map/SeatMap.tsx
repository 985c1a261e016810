import { useSignal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { formatMoney } from '../base/format';
import { Icon } from '../base/icons';
import { BLOCKED, HELD, SOLD } from '../live/house';
import type { Insets } from './camera';
import { attachGestures, type GestureHandlers } from './gestures';
import { MiniMap } from './MiniMap';
import { seatLabel, sectionName } from './names';
import type { Scene } from './scene';
import { MapView } from './view';

interface Tip {
  x: number;
  y: number;
  title: string;
  text: string;
}

interface Props {
  scene: Scene;
  insets?: Insets;
  onPick: (hit: { seat?: number; section: number } | null) => void;
  onView?: (view: MapView | null) => void;
  /** What the tooltip says of a seat; its state by default. */
  tip?: (seat: number) => string;
  onRectangle?: (seats: number[]) => void;
  isSelecting?: () => boolean;
  controlsBottom?: number;
  children?: ComponentChildren;
}

const STATE_WORDS: Record<number, string> = { [HELD]: 'Held, may come back', [SOLD]: 'Sold', [BLOCKED]: 'Not for sale' };

/** The house: canvas, tooltip, zoom buttons and the small map. */
export function SeatMap(props: Props): JSX.Element {
  const { scene } = props;
  const surface = useRef<HTMLDivElement>(null);
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<MapView | null>(null);
  const moved = useSignal(0);
  const tip = useSignal<Tip | null>(null);
  const latest = useRef(props);
  latest.current = props;

  useLayoutEffect(() => {
    if (!host.current || !surface.current) return;
    const map = (view.current = new MapView(host.current, scene));
    map.onCamera = () => {
      moved.value++;
      tip.value = null;
    };
    const hover: GestureHandlers['onHover'] = (hit) => {
      const seat = hit?.seat ?? 0;
      surface.current?.classList.toggle('can-pick', Boolean(seat || (hit && scene.plan.areas[hit.section]?.isPanel)));
      if (seat === scene.hover) return;
      scene.hover = seat;
      map.redrawOverlay();
      tip.value = seat && map.camera.pitch >= 4 ? tipOf(map, seat, latest.current) : null;
    };
    const detach = attachGestures(surface.current, map, {
      onPick: (hit) => latest.current.onPick(hit),
      onHover: hover,
      onRectangle: (seats) => latest.current.onRectangle?.(seats),
      isSelecting: () => latest.current.isSelecting?.() ?? false,
    });
    props.onView?.(map);
    return () => {
      detach();
      map.destroy();
      latest.current.onView?.(null);
    };
  }, [scene]);

  const { insets } = props;
  useEffect(() => {
    if (insets) view.current?.setInsets(insets);
  }, [scene, insets?.top, insets?.right, insets?.bottom, insets?.left]);

  void moved.value;
  const map = view.current;
  return (
    <div class="map">
      <div class="map-surface" ref={surface}>
        <div class="map-layers" ref={host} aria-hidden="true" />
      </div>
      {tip.value && (
        <div class="tip" aria-hidden="true" style={{ transform: `translate(${tip.value.x}px, ${tip.value.y}px)` }}>
          <span>
            <b>{tip.value.title}</b> {tip.value.text}
          </span>
        </div>
      )}
      {map && map.zoom > 1.5 && <MiniMap view={map} moved={moved} top={insets?.top ?? 0} />}
      <div class="zoom" style={props.controlsBottom ? { bottom: `${props.controlsBottom}px` } : {}}>
        <button type="button" aria-label="Zoom in" onClick={() => map?.zoomBy(1.6)}><Icon name="plus" /></button>
        <button type="button" aria-label="Zoom out" onClick={() => map?.zoomBy(1 / 1.6)}><Icon name="minus" /></button>
        <button type="button" aria-label="Whole house" onClick={() => map?.fit()}><Icon name="fit" /></button>
      </div>
      {props.children}
    </div>
  );
}

function tipOf(map: MapView, seat: number, props: Props): Tip {
  const { scene } = map;
  const at = map.screenOf(seat);
  const own = scene.yours.has(seat) ? 'Yours' : undefined;
  const state = own ?? STATE_WORDS[scene.house.state[seat]!];
  const text = props.tip?.(seat) ?? state ?? formatMoney(scene.house.priceOf(seat), scene.currency);
  const margin = 90;
  return {
    x: Math.max(margin, Math.min(map.size.width - margin, at.x)),
    y: at.y < 56 ? at.y + map.camera.pitch / 2 + 44 : at.y - map.camera.pitch / 2 - 6,
    title: `${sectionName(scene, seat)}, ${seatLabel(scene, seat)}`,
    text,
  };
}
