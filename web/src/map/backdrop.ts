import { formatNumber } from '../base/format';
import { toScreen } from './camera';
import type { Area, Row } from './plan';
import { detailOf, sectionLabel, type Frame, type Scene } from './scene';

/** The layer below the seats: stage, areas, names of sections and rows. */
export function paintBackdrop(frame: Frame, scene: Scene): void {
  const { ctx, size, scale, camera } = frame;
  ctx.setTransform(scale, 0, 0, scale, 0, 0);
  ctx.clearRect(0, 0, size.width, size.height);
  paintStage(frame, scene);
  const detail = detailOf(camera.pitch, scene.house.total);
  for (const area of scene.plan.areas) {
    if (area.isPanel || (detail === 'wedges' && !scene.heat)) paintArea(frame, scene, area);
  }
  if (scene.plan.isRings) {
    if (detail === 'wedges') paintRingLabels(frame, scene);
  } else for (const area of scene.plan.areas) paintHallLabel(frame, scene, area);
  if (camera.pitch >= 8.5) for (const row of scene.plan.rows) paintRowName(frame, row);
}

/** Draws a ring's part from one angle to another. */
function tracePart({ ctx, camera, size }: Frame, inner: number, outer: number, from: number, to: number): void {
  const middle = toScreen(camera, size, 0, 0);
  // Canvas angles begin on the right and grow clockwise; ours begin below and grow to the right.
  const turn = (angle: number) => Math.PI / 2 - angle;
  ctx.beginPath();
  ctx.arc(middle.x, middle.y, Math.max(0, outer * camera.pitch), turn(from), turn(to), true);
  if (inner > 0) ctx.arc(middle.x, middle.y, inner * camera.pitch, turn(to), turn(from), false);
  ctx.closePath();
}

function paintStage(frame: Frame, scene: Scene): void {
  const { ctx, camera, size, palette } = frame;
  const { stage } = scene.plan;
  ctx.fillStyle = palette.line;
  tracePart(frame, stage.inner, stage.outer, -stage.half, stage.half);
  ctx.fill();
  const at = toScreen(camera, size, 0, stage.isRound ? 0 : stage.outer - 0.75);
  const fontSize = Math.min(13, Math.max(0, camera.pitch * (stage.isRound ? 3 : 0.78)));
  if (fontSize < 6) return;
  ctx.fillStyle = palette.text2;
  ctx.font = `600 ${fontSize}px ${palette.font}`;
  ctx.textAlign = 'center';
  ctx.textBaseline = 'middle';
  ctx.fillText('Stage', at.x, at.y);
}

/** A section as one shape: general admission, and seats too small to draw. Filled by what is free. */
function paintArea(frame: Frame, scene: Scene, area: Area): void {
  const { ctx, palette } = frame;
  const counts = scene.house.counts.value[area.section];
  const total = scene.house.sections[area.section]?.total_seats ?? 1;
  const free = (counts?.free ?? total) / total;
  const held = (counts?.held ?? 0) / total;
  const faded = scene.shown !== null && !scene.shown.has(area.section);
  const tier = palette.tiers[scene.tiers[area.section] ?? 3]!;
  const depth = area.outer - area.inner;
  ctx.globalAlpha = faded ? 0.25 : 1;
  ctx.fillStyle = palette.line;
  tracePart(frame, area.inner, area.outer, area.from, area.to);
  ctx.fill();
  // Free places fill the shape from the front, held ones follow.
  ctx.fillStyle = palette.held;
  ctx.globalAlpha *= 0.55;
  tracePart(frame, area.inner, area.inner + depth * Math.min(1, free + held), area.from, area.to);
  if (held > 0) ctx.fill();
  ctx.globalAlpha = faded ? 0.25 : 1;
  ctx.fillStyle = tier;
  tracePart(frame, area.inner, area.inner + depth * free, area.from, area.to);
  if (free > 0) ctx.fill();
  if (scene.focus === area.section) {
    ctx.strokeStyle = palette.ink;
    ctx.lineWidth = 2.5;
    tracePart(frame, area.inner - 0.2, area.outer + 0.2, area.from, area.to);
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}

/** The name of a section of a hall, in the gap before its first row; kept in view. */
function paintHallLabel(frame: Frame, scene: Scene, area: Area): void {
  const { ctx, camera, size, palette } = frame;
  const section = scene.house.sections[area.section];
  if (!section) return;
  const fontSize = Math.min(14, Math.max(9.5, camera.pitch * 0.85));
  if (camera.pitch < 5.5 && !area.isPanel) return;
  const label = sectionLabel(section, scene.currency);
  const centre = toScreen(camera, size, 0, area.inner - 0.72);
  ctx.textBaseline = 'middle';
  const left = (weight: number, text: string) => {
    ctx.font = `${weight} ${fontSize}px ${palette.font}`;
    return ctx.measureText(text).width;
  };
  const nameWidth = left(600, label.name);
  const width = nameWidth + 6 + left(400, label.price);
  const x = Math.min(size.width - width - 24, Math.max(28, centre.x - width / 2));
  ctx.textAlign = 'left';
  ctx.font = `600 ${fontSize}px ${palette.font}`;
  ctx.lineWidth = 4;
  ctx.lineJoin = 'round';
  ctx.strokeStyle = palette.bg;
  ctx.strokeText(label.name, x, centre.y);
  ctx.fillStyle = palette.text;
  ctx.fillText(label.name, x, centre.y);
  ctx.font = `400 ${fontSize}px ${palette.font}`;
  ctx.strokeText(label.price, x + nameWidth + 6, centre.y);
  ctx.fillStyle = palette.text2;
  ctx.fillText(label.price, x + nameWidth + 6, centre.y);
  if (area.isPanel) paintPanelCount(frame, scene, area);
}

function paintPanelCount(frame: Frame, scene: Scene, area: Area): void {
  const { ctx, camera, size, palette } = frame;
  const free = scene.house.counts.value[area.section]?.free ?? 0;
  const radius = (area.inner + area.outer) / 2;
  const angle = (area.from + area.to) / 2;
  const at = toScreen(camera, size, radius * Math.sin(angle), radius * Math.cos(angle));
  paintTag(frame, `${formatNumber(free)} free`, at.x, at.y, Math.min(14, Math.max(10, camera.pitch * 0.8)));
  ctx.fillStyle = palette.text;
}

/** Text that can be read on any colour. */
function paintTag({ ctx, palette }: Frame, text: string, x: number, y: number, fontSize: number): void {
  ctx.font = `600 ${fontSize}px ${palette.font}`;
  const width = ctx.measureText(text).width + fontSize;
  ctx.fillStyle = palette.surface;
  ctx.beginPath();
  ctx.roundRect(x - width / 2, y - fontSize * 0.85, width, fontSize * 1.7, fontSize * 0.45);
  ctx.fill();
  ctx.fillStyle = palette.text;
  ctx.textAlign = 'center';
  ctx.textBaseline = 'middle';
  ctx.fillText(text, x, y + 0.5);
}

/** Names of wedges; above the seats, where seats are drawn. */
export function paintRingLabels(frame: Frame, scene: Scene): void {
  for (const area of scene.plan.areas) paintRingLabel(frame, scene, area);
}

function paintRingLabel(frame: Frame, scene: Scene, area: Area): void {
  const { camera, size, ctx, palette } = frame;
  const section = scene.house.sections[area.section];
  if (!section) return;
  const radius = (area.inner + area.outer) / 2;
  const angle = (area.from + area.to) / 2;
  const extent = Math.min(radius * (area.to - area.from), area.outer - area.inner) * camera.pitch;
  if (camera.pitch < 10) {
    const at = toScreen(camera, size, radius * Math.sin(angle), radius * Math.cos(angle));
    const fontSize = Math.min(12, Math.max(9, extent * 0.16));
    ctx.font = `600 ${fontSize}px ${palette.font}`;
    const name = section.name.length > 12 ? section.name.replace(/^\S+\s+/, '') : section.name;
    if (ctx.measureText(name).width + 10 <= Math.max(extent, radius * (area.to - area.from) * camera.pitch * 0.9)) paintTag(frame, name, at.x, at.y, fontSize);
    return;
  }
  // Close by: in the gap on the stage's side.
  const inner = area.inner - 1.1;
  const at = toScreen(camera, size, inner * Math.sin(angle), inner * Math.cos(angle));
  if (at.x < 0 || at.y < 0 || at.x > size.width || at.y > size.height) return;
  const label = sectionLabel(section, scene.currency);
  paintTag(frame, `${label.name} ${label.price}`, Math.min(size.width - 90, Math.max(90, at.x)), at.y, 12);
}

/** A row's name beside its ends; at the left edge where the end is out of view. */
function paintRowName(frame: Frame, row: Row): void {
  if (!row.name) return;
  const { ctx, camera, size, palette } = frame;
  const reach = (row.count - 1) / 2 / row.radius + 1.25 / row.radius;
  ctx.font = `500 ${Math.min(12, Math.max(8.5, camera.pitch * 0.75))}px ${palette.font}`;
  ctx.textAlign = 'center';
  ctx.textBaseline = 'middle';
  ctx.fillStyle = palette.text3;
  const put = (angle: number) => {
    const at = toScreen(camera, size, row.radius * Math.sin(angle), row.radius * Math.cos(angle));
    if (at.x > -10 && at.x < size.width + 10 && at.y > -10 && at.y < size.height + 10) ctx.fillText(row.name, at.x, at.y);
    return at;
  };
  put(row.angle + reach);
  put(row.angle - reach);
}

/** Names of rows whose beginning is out of view: at the left edge, above the seats. */
export function paintPinnedNames(frame: Frame, rows: readonly Row[]): void {
  const { ctx, camera, size, palette } = frame;
  if (camera.pitch < 8.5) return;
  const pinned: { name: string; y: number }[] = [];
  const edge = (16 - size.width / 2) / camera.pitch + camera.x;
  for (const row of rows) {
    if (!row.name || Math.abs(edge) >= row.radius) continue;
    const angle = Math.asin(edge / row.radius);
    const half = (row.count - 1) / 2 / row.radius;
    if (angle < row.angle - half || angle > row.angle + half + 1 / row.radius) continue;
    const y = (row.radius * Math.cos(angle) - camera.y) * camera.pitch + size.height / 2;
    if (y > -10 && y < size.height + 10) pinned.push({ name: row.name, y });
  }
  if (!pinned.length) return;
  const fade = ctx.createLinearGradient(0, 0, 46, 0);
  fade.addColorStop(0.5, palette.bg);
  fade.addColorStop(1, `${palette.bg}00`);
  ctx.fillStyle = fade;
  ctx.fillRect(0, 0, 46, size.height);
  ctx.fillStyle = palette.text2;
  ctx.font = `500 12px ${palette.font}`;
  ctx.textAlign = 'center';
  ctx.textBaseline = 'middle';
  for (const { name, y } of pinned) ctx.fillText(name, 15, y);
}
