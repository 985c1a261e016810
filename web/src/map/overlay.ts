import { paintPinnedNames, paintRingLabels } from './backdrop';
import { toScreen } from './camera';
import { NO_ROW, type Row } from './plan';
import { detailOf, type Frame, type Scene } from './scene';

/** The layer above the seats: what the pointer and the keys are at, what is offered, what is yours. */
export function paintOverlay(frame: Frame, scene: Scene): void {
  const { ctx, size, scale } = frame;
  ctx.setTransform(scale, 0, 0, scale, 0, 0);
  ctx.clearRect(0, 0, size.width, size.height);
  if (scene.plan.isRings && detailOf(frame.camera.pitch, scene.house.total) !== 'wedges') paintRingLabels(frame, scene);
  if (scene.hover && scene.hover !== scene.cursor) paintHover(frame, scene, scene.hover);
  scene.alternatives.forEach((seats, index) => paintAlternative(frame, scene, seats, index));
  for (const group of groupsOf(scene, scene.yours)) paintBrackets(frame, scene, group, frame.palette.action);
  if (scene.cursor) paintBrackets(frame, scene, [scene.cursor], scene.heat ? frame.palette.text : frame.palette.action);
  if (!scene.plan.isRings) paintPinnedNames(frame, scene.plan.rows);
  if (scene.drag) paintDrag(frame, scene.drag);
}

/** Seats side by side in one row. */
function groupsOf(scene: Scene, seats: ReadonlySet<number>): number[][] {
  const groups: number[][] = [];
  for (const seat of [...seats].sort((a, b) => a - b)) {
    const row = scene.plan.rowOf[seat];
    if (row === undefined || row === NO_ROW) continue;
    const last = groups[groups.length - 1];
    const before = last?.[last.length - 1];
    if (last && before === seat - 1 && scene.plan.rowOf[before] === row) last.push(seat);
    else groups.push([seat]);
  }
  return groups;
}

function paintHover({ ctx, camera, size, palette }: Frame, scene: Scene, seat: number): void {
  const at = toScreen(camera, size, scene.plan.x[seat]!, scene.plan.y[seat]!);
  ctx.strokeStyle = palette.action;
  ctx.globalAlpha = 0.35;
  ctx.lineWidth = Math.max(3, camera.pitch * 0.22);
  ctx.beginPath();
  ctx.arc(at.x, at.y, camera.pitch * 0.52, 0, 2 * Math.PI);
  ctx.stroke();
  ctx.globalAlpha = 1;
}

function ends(scene: Scene, seats: readonly number[]): { row: Row; from: number; to: number } | null {
  const first = seats[0];
  const row = first === undefined ? undefined : scene.plan.rows[scene.plan.rowOf[first]!];
  if (!row) return null;
  const at = (seat: number) => row.angle + (seat - row.first - (row.count - 1) / 2) / row.radius;
  return { row, from: at(Math.min(...seats)), to: at(Math.max(...seats)) };
}

function paintAlternative(frame: Frame, scene: Scene, seats: readonly number[], index: number): void {
  const { ctx, camera, size, palette } = frame;
  const span = ends(scene, seats);
  if (!span) return;
  const middle = toScreen(camera, size, 0, 0);
  const turn = (angle: number) => Math.PI / 2 - angle;
  const isActive = index === scene.alternative;
  ctx.lineCap = 'round';
  const stroke = (width: number, colour: string, operation: GlobalCompositeOperation) => {
    ctx.globalCompositeOperation = operation;
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.beginPath();
    ctx.arc(middle.x, middle.y, span.row.radius * camera.pitch, turn(span.from), turn(span.to), true);
    ctx.stroke();
    ctx.globalCompositeOperation = 'source-over';
  };
  const border = isActive ? 2 : 1.25;
  stroke(camera.pitch * 0.98 + border * 2, isActive ? palette.action : palette.text2, 'source-over');
  stroke(camera.pitch * 0.98, '#000', 'destination-out');
  const side = index === 0 ? span.from - 0.35 / span.row.radius : span.to + 0.5 / span.row.radius;
  const radius = span.row.radius + (index === 0 ? -1 : 1);
  const at = toScreen(camera, size, radius * Math.sin(side), radius * Math.cos(side));
  paintNumberBadge(frame, String(index + 1), at.x, at.y);
}

function paintNumberBadge({ ctx, palette }: Frame, text: string, x: number, y: number): void {
  ctx.fillStyle = palette.ink;
  ctx.beginPath();
  ctx.arc(x, y, 8, 0, 2 * Math.PI);
  ctx.fill();
  ctx.fillStyle = palette.onInk;
  ctx.font = `600 11px ${palette.font}`;
  ctx.textAlign = 'center';
  ctx.textBaseline = 'middle';
  ctx.fillText(text, x, y + 0.5);
}

/** The mark's brackets around seats that lie side by side. */
function paintBrackets(frame: Frame, scene: Scene, seats: readonly number[], colour: string): void {
  const { ctx, camera, size } = frame;
  const span = ends(scene, seats);
  if (!span) return;
  const p = camera.pitch;
  ctx.strokeStyle = colour;
  ctx.lineWidth = Math.max(1.5, Math.min(2.5, p * 0.09));
  ctx.lineCap = ctx.lineJoin = 'round';
  const reach = Math.max(p * 0.6, 5);
  const arm = reach * 0.36;
  for (const [angle, side] of [
    [span.from, -1],
    [span.to, 1],
  ] as const) {
    const at = toScreen(camera, size, span.row.radius * Math.sin(angle), span.row.radius * Math.cos(angle));
    ctx.save();
    ctx.translate(at.x, at.y);
    ctx.rotate(-angle);
    ctx.beginPath();
    ctx.moveTo(side * (reach - arm), -reach);
    ctx.lineTo(side * reach, -reach);
    ctx.lineTo(side * reach, reach);
    ctx.lineTo(side * (reach - arm), reach);
    ctx.stroke();
    ctx.restore();
  }
}

function paintDrag({ ctx, camera, size, palette }: Frame, drag: NonNullable<Scene['drag']>): void {
  const from = toScreen(camera, size, drag.x0, drag.y0);
  const to = toScreen(camera, size, drag.x1, drag.y1);
  ctx.strokeStyle = palette.action;
  ctx.lineWidth = 1.5;
  ctx.strokeRect(from.x, from.y, to.x - from.x, to.y - from.y);
  ctx.globalAlpha = 0.12;
  ctx.fillStyle = palette.action;
  ctx.fillRect(from.x, from.y, to.x - from.x, to.y - from.y);
  ctx.globalAlpha = 1;
}
