import type { Palette } from './palette';

/** How a seat looks. Free and chosen ones have four colours each. */
export const LOOK_FREE = 0;
export const LOOK_CHOSEN = 4;
export const LOOK_YOURS = 8;
export const LOOK_HELD = 9;
export const LOOK_SOLD = 10;
export const LOOK_BLOCKED = 11;
export const LOOK_TAKEN = 12;
const LOOKS = 13;

const TURN = 2 * Math.PI;

/** Draws one look around (0, 0), P = `p`. */
export function drawLook(ctx: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D, look: number, p: number, palette: Palette): void {
  const disc = (radius: number, colour: string) => {
    ctx.fillStyle = colour;
    ctx.beginPath();
    ctx.arc(0, 0, radius * p, 0, TURN);
    ctx.fill();
  };
  const ring = (radius: number, colour: string, width: number) => {
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.beginPath();
    ctx.arc(0, 0, radius * p, 0, TURN);
    ctx.stroke();
  };
  const cross = (reach: number, colour: string, width: number) => {
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.lineCap = 'round';
    ctx.beginPath();
    for (const side of [-1, 1]) {
      ctx.moveTo(-reach * p, -reach * p * side);
      ctx.lineTo(reach * p, reach * p * side);
    }
    ctx.stroke();
  };
  if (look < LOOK_CHOSEN) disc(0.37, palette.tiers[look]!);
  else if (look < LOOK_YOURS) {
    disc(0.27, palette.tiers[look - LOOK_CHOSEN]!);
    ring(0.41, palette.ink, Math.max(1, 0.1 * p));
  } else if (look === LOOK_YOURS) drawYours(ctx, p, palette);
  else if (look === LOOK_HELD) ring(0.3, palette.held, Math.max(0.8, 0.095 * p));
  else if (look === LOOK_SOLD) disc(0.17, palette.sold);
  else if (look === LOOK_BLOCKED) cross(0.2, palette.blocked, Math.max(0.7, 0.085 * p));
  else {
    ring(0.38, palette.bad, Math.max(1, 0.1 * p));
    cross(0.15, palette.bad, Math.max(1, 0.1 * p));
  }
}

function drawYours(ctx: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D, p: number, palette: Palette): void {
  ctx.fillStyle = palette.ink;
  ctx.beginPath();
  ctx.roundRect(-0.44 * p, -0.44 * p, 0.88 * p, 0.88 * p, 0.2 * p);
  ctx.fill();
  if (p < 7) return;
  ctx.strokeStyle = palette.onInk;
  ctx.lineWidth = 0.115 * p;
  ctx.lineCap = ctx.lineJoin = 'round';
  ctx.beginPath();
  ctx.moveTo(-0.2 * p, 0.02 * p);
  ctx.lineTo(-0.06 * p, 0.16 * p);
  ctx.lineTo(0.21 * p, -0.15 * p);
  ctx.stroke();
}

/** One picture of each look at one size, to be copied for every seat. */
export class Sprites {
  readonly cell: number;
  readonly atlas: OffscreenCanvas;

  /** `pitch` in device pixels. */
  constructor(
    readonly pitch: number,
    readonly palette: Palette,
  ) {
    this.cell = Math.ceil(pitch) + 4;
    this.atlas = new OffscreenCanvas(this.cell * LOOKS, this.cell);
    const ctx = this.atlas.getContext('2d');
    if (!ctx) throw new Error('No canvas');
    for (let look = 0; look < LOOKS; look++) {
      ctx.save();
      ctx.translate(this.cell * (look + 0.5), this.cell / 2);
      drawLook(ctx, look, pitch, palette);
      ctx.restore();
    }
  }

  /** Draws a look with its middle at device pixels (x, y). */
  draw(ctx: CanvasRenderingContext2D, look: number, x: number, y: number): void {
    const half = this.cell / 2;
    ctx.drawImage(this.atlas, look * this.cell, 0, this.cell, this.cell, x - half, y - half, this.cell, this.cell);
  }
}
