import type { Section } from '../api/types';
import { formatMoney } from '../base/format';
import { FREE, HELD, SOLD, type House } from '../live/house';
import type { Camera, Size } from './camera';
import { HEAT_STEPS, type Palette } from './palette';
import type { Plan } from './plan';
import { NO_ROW } from './plan';
import { LOOK_BLOCKED, LOOK_CHOSEN, LOOK_FREE, LOOK_HELD, LOOK_SOLD, LOOK_TAKEN, LOOK_YOURS, type Sprites } from './sprites';
import { tiersOf } from './tiers';

/** Everything that is drawn. Changed by its owner, who then says what to draw again. */
export class Scene {
  readonly tiers: number[];
  chosen: ReadonlySet<number> = new Set();
  yours: ReadonlySet<number> = new Set();
  /** Seats that were taken a moment ago from under this buyer's choice. */
  taken: ReadonlySet<number> = new Set();
  /** Groups offered instead. */
  alternatives: readonly (readonly number[])[] = [];
  alternative = -1;
  hover = 0;
  cursor = 0;
  /** Sections that are not faded; `null`: all. */
  shown: ReadonlySet<number> | null = null;
  /** Section in the foreground. */
  focus = -1;
  /** A value from 0 to 1 for each seat, instead of its state; below 0: nothing. */
  heat: ((seat: number) => number) | null = null;
  /** Seats inside a rectangle that is being drawn, world coordinates. */
  drag: { x0: number; y0: number; x1: number; y1: number } | null = null;

  constructor(
    readonly house: House,
    readonly plan: Plan,
    readonly currency: string,
  ) {
    this.tiers = tiersOf(house.sections);
  }

  look(seat: number): number {
    if (this.yours.has(seat)) return LOOK_YOURS;
    if (this.taken.has(seat)) return LOOK_TAKEN;
    const tier = this.tiers[this.house.sectionOf[seat]!] ?? 3;
    if (this.chosen.has(seat)) return LOOK_CHOSEN + tier;
    const state = this.house.state[seat];
    return state === FREE ? LOOK_FREE + tier : state === HELD ? LOOK_HELD : state === SOLD ? LOOK_SOLD : LOOK_BLOCKED;
  }

  isFaded(seat: number): boolean {
    return this.shown !== null && !this.shown.has(this.house.sectionOf[seat]!);
  }
}

/** What a layer is drawn with. `scale`: device pixels a CSS pixel. */
export interface Frame {
  ctx: CanvasRenderingContext2D;
  size: Size;
  camera: Camera;
  scale: number;
  palette: Palette;
  sprites: Sprites;
}

export type Detail = 'wedges' | 'squares' | 'shapes';
const MANY_SEATS = 3000;

/** How finely seats are drawn: shapes cost more, and cannot be told apart when small. */
export function detailOf(pitch: number, total: number): Detail {
  if (total <= MANY_SEATS || pitch >= 10) return 'shapes';
  return pitch < 4 ? 'wedges' : 'squares';
}

/** Seats of rows that touch the view, by their bounds. */
export function eachVisible(plan: Plan, camera: Camera, size: Size, visit: (seat: number) => void): void {
  const halfWidth = size.width / 2 / camera.pitch + 1;
  const halfHeight = size.height / 2 / camera.pitch + 1;
  const left = camera.x - halfWidth;
  const right = camera.x + halfWidth;
  const top = camera.y - halfHeight;
  const bottom = camera.y + halfHeight;
  for (const row of plan.rows) {
    // The row is an arc: its middle and its ends bound it, unless it turns far.
    const end = row.first + row.count - 1;
    const sagitta = row.count > row.radius * 1.4 ? row.radius * 2 : 0;
    const middle = row.first + (row.count >> 1);
    const low = Math.min(plan.y[row.first]!, plan.y[end]!, plan.y[middle]!) - sagitta;
    const high = Math.max(plan.y[row.first]!, plan.y[end]!, plan.y[middle]!) + sagitta;
    if (high < top || low > bottom) continue;
    for (let seat = row.first; seat <= end; seat++) {
      const x = plan.x[seat]!;
      const y = plan.y[seat]!;
      if (x >= left && x <= right && y >= top && y <= bottom) visit(seat);
    }
  }
}

export function paintSeats(frame: Frame, scene: Scene): void {
  const { ctx, size, scale, camera } = frame;
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.clearRect(0, 0, size.width * scale, size.height * scale);
  const detail = detailOf(camera.pitch, scene.house.total);
  if (scene.heat) paintHeat(frame, scene);
  else if (detail === 'squares') paintSquares(frame, scene);
  else if (detail === 'shapes') eachVisible(scene.plan, camera, size, (seat) => paintSeat(frame, scene, seat));
}

/** Draws changed seats again, where each has its own place. */
export function paintDirty(frame: Frame, scene: Scene, dirty: Set<number>): void {
  const { ctx, camera, size, scale } = frame;
  const half = (camera.pitch * scale) / 2;
  const detail = detailOf(camera.pitch, scene.house.total);
  if (detail === 'wedges') return;
  for (const seat of dirty) {
    if (scene.plan.rowOf[seat] === NO_ROW) continue;
    const x = ((scene.plan.x[seat]! - camera.x) * camera.pitch + size.width / 2) * scale;
    const y = ((scene.plan.y[seat]! - camera.y) * camera.pitch + size.height / 2) * scale;
    if (x < -half || y < -half || x > size.width * scale + half || y > size.height * scale + half) continue;
    ctx.clearRect(x - half, y - half, half * 2, half * 2);
    if (scene.heat) paintHeatSeat(frame, scene, seat);
    else if (detail === 'squares') {
      ctx.fillStyle = squareColour(frame.palette, scene.look(seat));
      square(frame, scene, seat, scene.look(seat));
    } else paintSeat(frame, scene, seat);
  }
}

function paintSeat(frame: Frame, scene: Scene, seat: number): void {
  const { ctx, camera, size, scale, sprites } = frame;
  const x = ((scene.plan.x[seat]! - camera.x) * camera.pitch + size.width / 2) * scale;
  const y = ((scene.plan.y[seat]! - camera.y) * camera.pitch + size.height / 2) * scale;
  const look = scene.look(seat);
  const faded = scene.isFaded(seat) && look < LOOK_CHOSEN;
  if (faded) ctx.globalAlpha = 0.16;
  sprites.draw(ctx, look, x, y);
  if (faded) ctx.globalAlpha = 1;
  if (camera.pitch >= 26 && look < LOOK_YOURS) paintNumber(frame, scene, seat, look, x, y);
}

function paintNumber({ ctx, camera, scale, palette }: Frame, scene: Scene, seat: number, look: number, x: number, y: number): void {
  const row = scene.plan.rows[scene.plan.rowOf[seat]!];
  if (!row) return;
  const isDark = palette.bg < '#8';
  ctx.fillStyle = isDark ? '#0b0d12' : '#ffffff';
  const chosen = look >= LOOK_CHOSEN;
  ctx.font = `600 ${Math.round(camera.pitch * scale * (chosen ? 0.27 : 0.33))}px ${palette.font}`;
  ctx.textAlign = 'center';
  ctx.textBaseline = 'middle';
  ctx.fillText(String(seat - row.first + 1), x, y + scale * 0.5);
}

function squareColour(palette: Palette, look: number): string {
  if (look < LOOK_CHOSEN) return palette.tiers[look]!;
  if (look < LOOK_HELD) return palette.ink;
  return look === LOOK_HELD ? palette.held : look === LOOK_SOLD ? palette.sold : look === LOOK_BLOCKED ? palette.blocked : palette.bad;
}

const SQUARE_SIDE = [0.72, 0.72, 0.72, 0.72, 0.86, 0.86, 0.86, 0.86, 0.92, 0.5, 0.3, 0.26, 0.86];

function square({ ctx, camera, size, scale }: Frame, scene: Scene, seat: number, look: number): void {
  const side = Math.max(1, Math.round(SQUARE_SIDE[look]! * camera.pitch * scale));
  const x = ((scene.plan.x[seat]! - camera.x) * camera.pitch + size.width / 2) * scale;
  const y = ((scene.plan.y[seat]! - camera.y) * camera.pitch + size.height / 2) * scale;
  ctx.fillRect(Math.round(x - side / 2), Math.round(y - side / 2), side, side);
}

/** Small seats of large houses: one pass for each colour. */
function paintSquares(frame: Frame, scene: Scene): void {
  const byLook: number[][] = [];
  eachVisible(scene.plan, frame.camera, frame.size, (seat) => {
    (byLook[scene.look(seat)] ??= []).push(seat);
  });
  byLook.forEach((seats, look) => {
    frame.ctx.fillStyle = squareColour(frame.palette, look);
    for (const seat of seats) {
      const faded = scene.isFaded(seat);
      if (faded) frame.ctx.globalAlpha = 0.16;
      square(frame, scene, seat, look);
      if (faded) frame.ctx.globalAlpha = 1;
    }
  });
}

function paintHeat(frame: Frame, scene: Scene): void {
  eachVisible(scene.plan, frame.camera, frame.size, (seat) => paintHeatSeat(frame, scene, seat));
}

function paintHeatSeat({ ctx, camera, size, scale }: Frame, scene: Scene, seat: number): void {
  const value = scene.heat?.(seat) ?? -1;
  const p = camera.pitch * scale;
  const x = ((scene.plan.x[seat]! - camera.x) * camera.pitch + size.width / 2) * scale;
  const y = ((scene.plan.y[seat]! - camera.y) * camera.pitch + size.height / 2) * scale;
  ctx.fillStyle = HEAT_STEPS[value < 0 ? 0 : Math.round(Math.min(1, value) * 63)]!;
  const side = p * 0.8;
  if (p < 7) {
    ctx.fillRect(x - side / 2, y - side / 2, side, side);
    return;
  }
  const row = scene.plan.rows[scene.plan.rowOf[seat]!];
  const turn = row ? -(row.angle + (seat - row.first - (row.count - 1) / 2) / row.radius) : 0;
  const cos = Math.cos(turn);
  const sin = Math.sin(turn);
  ctx.setTransform(cos, sin, -sin, cos, x, y);
  ctx.beginPath();
  ctx.roundRect(-side / 2, -side / 2, side, side, side * 0.22);
  ctx.fill();
  ctx.setTransform(1, 0, 0, 1, 0, 0);
}

/** "Stalls €95.00" in two weights. */
export function sectionLabel(section: Section, currency: string): { name: string; price: string } {
  return { name: section.name, price: formatMoney(section.price, currency) };
}
