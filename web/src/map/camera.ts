import type { Plan } from './plan';

/** What part of the plan is shown: world point (x, y) is in the middle, `pitch` CSS pixels a seat. */
export interface Camera {
  x: number;
  y: number;
  pitch: number;
}
export interface Size {
  width: number;
  height: number;
}
/** Space that other things cover, CSS pixels. */
export interface Insets {
  top: number;
  right: number;
  bottom: number;
  left: number;
}

export const ZOOM_MAX = 12;
/** Seats are never drawn larger than this. */
const PITCH_MAX = 46;
const FIT_PITCH_MAX = 30;

export function fit(plan: Plan, size: Size, insets: Insets): Camera {
  const { left, top, right, bottom } = plan.bounds;
  const width = Math.max(1, size.width - insets.left - insets.right);
  const height = Math.max(1, size.height - insets.top - insets.bottom);
  const pitch = Math.min(FIT_PITCH_MAX, width / (right - left), height / (bottom - top));
  return {
    pitch,
    x: (left + right) / 2 + (insets.right - insets.left) / 2 / pitch,
    y: (top + bottom) / 2 + (insets.bottom - insets.top) / 2 / pitch,
  };
}

/** The largest pitch: 12 times the whole house, or what a hand can use. */
export function pitchMax(fitted: Camera): number {
  return Math.max(fitted.pitch, Math.min(fitted.pitch * ZOOM_MAX, Math.max(PITCH_MAX, fitted.pitch * 2)));
}

/** Keeps some of the plan in view, and the zoom within its bounds. */
export function clamp(camera: Camera, fitted: Camera, plan: Plan): Camera {
  const pitch = Math.min(pitchMax(fitted), Math.max(fitted.pitch, camera.pitch));
  if (pitch <= fitted.pitch * 1.001) return { ...fitted };
  const { left, top, right, bottom } = plan.bounds;
  const within = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value));
  return { pitch, x: within(camera.x, left, right), y: within(camera.y, top, bottom) };
}

export function toScreen(camera: Camera, size: Size, x: number, y: number): { x: number; y: number } {
  return { x: (x - camera.x) * camera.pitch + size.width / 2, y: (y - camera.y) * camera.pitch + size.height / 2 };
}

export function toWorld(camera: Camera, size: Size, x: number, y: number): { x: number; y: number } {
  return { x: (x - size.width / 2) / camera.pitch + camera.x, y: (y - size.height / 2) / camera.pitch + camera.y };
}

/** Zooms so that the world point under a screen point stays there. */
export function zoomAt(camera: Camera, size: Size, at: { x: number; y: number }, pitch: number): Camera {
  const world = toWorld(camera, size, at.x, at.y);
  return { pitch, x: world.x - (at.x - size.width / 2) / pitch, y: world.y - (at.y - size.height / 2) / pitch };
}

export function between(a: Camera, b: Camera, share: number): Camera {
  const ease = 1 - (1 - share) ** 3;
  const pitch = a.pitch * (b.pitch / a.pitch) ** ease;
  return { pitch, x: a.x + (b.x - a.x) * ease, y: a.y + (b.y - a.y) * ease };
}
