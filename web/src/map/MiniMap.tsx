import type { Signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { fit, toWorld, type Size } from './camera';
import { readPalette } from './palette';
import { paintBackdrop } from './backdrop';
import { paintSeats, type Frame, type Scene } from './scene';
import { Sprites } from './sprites';
import type { MapView } from './view';

const NONE = { top: 4, right: 4, bottom: 4, left: 4 };
const REDRAW_MS = 500;

/** Draws the whole house small. */
export function paintSmall(canvas: HTMLCanvasElement, scene: Scene, size: Size): void {
  const scale = Math.min(2, window.devicePixelRatio || 1);
  canvas.width = size.width * scale;
  canvas.height = size.height * scale;
  const seats = canvas.getContext('2d');
  const backdrop = document.createElement('canvas');
  backdrop.width = canvas.width;
  backdrop.height = canvas.height;
  const below = backdrop.getContext('2d');
  if (!seats || !below) return;
  const camera = fit(scene.plan, size, NONE);
  const palette = readPalette();
  const frame: Frame = { ctx: seats, size, camera, scale, palette, sprites: new Sprites(Math.max(2, camera.pitch * scale), palette) };
  paintSeats(frame, scene);
  paintBackdrop({ ...frame, ctx: below }, scene);
  seats.setTransform(1, 0, 0, 1, 0, 0);
  seats.globalCompositeOperation = 'destination-over';
  seats.drawImage(backdrop, 0, 0);
  seats.globalCompositeOperation = 'source-over';
}

/** The whole house, kept current at a slow pace. */
export function SmallHouse({ scene, width, height, label }: { scene: Scene; width: number; height: number; label?: string }): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const draw = () => {
      timer = undefined;
      if (canvas.current) paintSmall(canvas.current, scene, { width, height });
    };
    const soon = () => {
      timer ??= setTimeout(draw, REDRAW_MS);
    };
    draw();
    scene.house.painters.add(soon);
    window.addEventListener('themechange', soon);
    return () => {
      clearTimeout(timer);
      scene.house.painters.delete(soon);
      window.removeEventListener('themechange', soon);
    };
  }, [scene, width, height]);
  const size = { width: `${width}px`, height: `${height}px` };
  return label ? <canvas ref={canvas} style={size} role="img" aria-label={label} /> : <canvas ref={canvas} style={size} aria-hidden="true" />;
}

/** Where in the house the map is; a press goes there. */
export function MiniMap({ view, moved, top }: { view: MapView; moved: Signal<number>; top: number }): JSX.Element {
  const { plan } = view.scene;
  const { left, right, top: above, bottom } = plan.bounds;
  const width = 116;
  const height = Math.round(Math.min(110, Math.max(64, (width * (bottom - above)) / (right - left))));
  const small = fit(plan, { width, height }, NONE);
  void moved.value;
  const frame = {
    left: (view.camera.x - view.size.width / 2 / view.camera.pitch - small.x) * small.pitch + width / 2,
    top: (view.camera.y - view.size.height / 2 / view.camera.pitch - small.y) * small.pitch + height / 2,
    width: (view.size.width / view.camera.pitch) * small.pitch,
    height: (view.size.height / view.camera.pitch) * small.pitch,
  };
  const go = (event: PointerEvent) => {
    if (event.type === 'pointermove' && !event.buttons) return;
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const world = toWorld(small, { width, height }, event.clientX - box.left, event.clientY - box.top);
    view.setCamera({ ...view.camera, x: world.x, y: world.y });
  };
  const pixels = (value: number) => `${value}px`;
  return (
    <div class="mini" aria-hidden="true" style={{ top: pixels(12 + top), width: pixels(width), height: pixels(height) }} onPointerDown={go} onPointerMove={go}>
      <SmallHouse scene={view.scene} width={width} height={height} />
      <i style={{ left: pixels(frame.left), top: pixels(frame.top), width: pixels(frame.width), height: pixels(frame.height) }} />
    </div>
  );
}
