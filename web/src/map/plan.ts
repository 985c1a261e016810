import type { Section } from '../api/types';

/** Where the seats lie. Lengths in seat pitches; y grows downwards, angle 0 points down from the stage. */
export interface Row {
  section: number;
  name: string;
  /** Id of the first seat; the others follow. */
  first: number;
  count: number;
  radius: number;
  /** Of the row's middle. */
  angle: number;
}

/** A section's part of a ring. */
export interface Area {
  section: number;
  inner: number;
  outer: number;
  from: number;
  to: number;
  isPanel: boolean;
  /** Indices of its rows in `Plan.rows`. */
  firstRow: number;
  endRow: number;
}

export interface Plan {
  rows: Row[];
  areas: Area[];
  x: Float32Array;
  y: Float32Array;
  /** Row of each seat; 0xffffffff for general admission. */
  rowOf: Uint32Array;
  bounds: { left: number; top: number; right: number; bottom: number };
  stage: { inner: number; outer: number; half: number; isRound: boolean };
  isRings: boolean;
}

export const NO_ROW = 0xffffffff;
const FIRST_RADIUS = 24;
const ROW_STEP = 1.07;
const SECTION_GAP = 1.75;
const HALF_ANGLE_MAX = 1.15;
const SIDE_ROW_SEATS = 12;
const RINGS_SECTIONS = 12;
const RINGS_SEATS = 3000;
const WEDGE_GAP = 2.2;
const RING_GAP = 3.4;

interface Block {
  section: number;
  /** Seats of each row; none for general admission. */
  counts: number[];
  names: string[];
  first: number;
  capacity: number;
}

/** Sizes of a section's rows, from its row starts. */
export function rowCounts(section: Section, rowStart: Uint8Array): number[] {
  if (section.general_admission) return [];
  if (section.rows?.length) return section.rows.map((row) => row.seats);
  const counts: number[] = [];
  for (let seat = section.first_seat_id; seat < section.first_seat_id + section.total_seats; seat++) {
    if (rowStart[seat] || !counts.length) counts.push(0);
    counts[counts.length - 1]!++;
  }
  return counts;
}

/** Lays out a house. `rowStart` says where rows begin, if the sections do not. */
export function makePlan(sections: Section[], total: number, rowStart: Uint8Array): Plan {
  const blocks = sections.map((section, index) => {
    const counts = rowCounts(section, rowStart);
    return {
      section: index,
      counts,
      names: counts.map((_, row) => section.rows?.[row]?.name ?? ''),
      first: section.first_seat_id,
      capacity: section.total_seats,
    };
  });
  const isRings = sections.length > RINGS_SECTIONS || total > RINGS_SEATS;
  const plan: Plan = {
    rows: [],
    areas: [],
    x: new Float32Array(total + 1),
    y: new Float32Array(total + 1),
    rowOf: new Uint32Array(total + 1).fill(NO_ROW),
    bounds: { left: 0, top: 0, right: 0, bottom: 0 },
    stage: { inner: 0, outer: 0, half: 0, isRound: false },
    isRings,
  };
  if (isRings) layRings(plan, blocks);
  else layHall(plan, blocks);
  placeSeats(plan);
  plan.bounds = boundsOf(plan);
  return plan;
}

/** A hall: sections one behind the other, rows as arcs around a point before the stage. */
function layHall(plan: Plan, blocks: Block[]): void {
  const widest = Math.max(0, ...blocks.flatMap((block) => block.counts));
  const inPairs = (block: Block) => widest >= SIDE_ROW_SEATS && block.counts.length > 1 && block.counts.every((count) => count < SIDE_ROW_SEATS);
  const depth = (block: Block) => {
    if (!block.counts.length) return panelDepth(block.capacity);
    return (inPairs(block) ? Math.ceil(block.counts.length / 2) : block.counts.length) * ROW_STEP;
  };
  // The first radius is such that no row turns too far around the stage.
  let offset = 0;
  let radius = FIRST_RADIUS;
  for (const block of blocks) {
    block.counts.forEach((count, row) => {
      const at = offset + (inPairs(block) ? row >> 1 : row) * ROW_STEP;
      radius = Math.max(radius, (count - 1) / 2 / HALF_ANGLE_MAX - at);
    });
    offset += depth(block) + SECTION_GAP;
  }
  plan.stage = { inner: radius - 4.1, outer: radius - 2.5, half: 8.6 / radius, isRound: false };
  const half = widest ? widest / 2 : Math.min(18, 8 + offset / 2);
  for (const block of blocks) {
    const firstRow = plan.rows.length;
    const inner = radius - 0.5;
    let row = 0;
    for (const count of block.counts) {
      const pair = inPairs(block);
      const at = radius + (pair ? row >> 1 : row) * ROW_STEP;
      const angle = pair ? ((row % 2 ? 1 : -1) * (half - count / 2)) / at : 0;
      plan.rows.push({ section: block.section, name: block.names[row] ?? '', first: block.first + sum(block.counts, row), count, radius: at, angle });
      row++;
    }
    radius += depth(block);
    const outer = radius - ROW_STEP + 0.5;
    const reach = block.counts.length && !inPairs(block) ? Math.max(...block.counts) / 2 : half;
    const middle = (inner + outer) / 2;
    plan.areas.push({
      section: block.section,
      inner,
      outer: block.counts.length ? outer : radius - 0.5,
      from: -reach / middle,
      to: reach / middle,
      isPanel: !block.counts.length,
      firstRow,
      endRow: plan.rows.length,
    });
    radius += SECTION_GAP;
  }
}

function panelDepth(capacity: number): number {
  return Math.min(9, Math.max(3.5, Math.sqrt(capacity) / 3));
}

function sum(values: number[], end: number): number {
  let total = 0;
  for (let i = 0; i < end; i++) total += values[i]!;
  return total;
}

interface Wedge {
  block: Block;
  span: number;
}
interface Ring {
  radius: number;
  depth: number;
  wedges: Wedge[];
}

/** An arena: sections as wedges in rings around the stage, the ring's start chosen for the smallest whole. */
function layRings(plan: Plan, blocks: Block[]): void {
  let best: { outer: number; rings: Ring[] } | undefined;
  for (let radius = 10; radius <= 160; radius += 3) {
    const rings = packRings(blocks, radius);
    const last = rings[rings.length - 1]!;
    const used = last.wedges.reduce((total, wedge) => total + wedge.span, 0) / (2 * Math.PI);
    // A last ring that is nearly empty looks forgotten.
    const outer = (last.radius + last.depth) * (used < 0.6 ? 1.12 : 1);
    if (!best || outer < best.outer) best = { outer, rings };
  }
  const rings = best?.rings ?? [];
  const first = rings[0]?.radius ?? 10;
  plan.stage = { inner: 0, outer: first * 0.55, half: Math.PI, isRound: true };
  for (const ring of rings) {
    const used = ring.wedges.reduce((total, wedge) => total + wedge.span, 0);
    const isFull = used > 0.7 * 2 * Math.PI;
    const gap = isFull ? (2 * Math.PI - used) / ring.wedges.length : (WEDGE_GAP * 1.2) / ring.radius;
    let angle = isFull ? -Math.PI + gap / 2 : -(used + gap * (ring.wedges.length - 1)) / 2;
    for (const { block, span } of ring.wedges) {
      const firstRow = plan.rows.length;
      block.counts.forEach((count, row) => {
        plan.rows.push({
          section: block.section,
          name: block.names[row] ?? '',
          first: block.first + sum(block.counts, row),
          count,
          radius: ring.radius + row * ROW_STEP,
          angle: angle + span / 2,
        });
      });
      const depth = block.counts.length ? block.counts.length * ROW_STEP : ring.depth;
      plan.areas.push({
        section: block.section,
        inner: ring.radius - 0.7,
        outer: ring.radius + depth - 0.4,
        from: angle - 0.3 / ring.radius,
        to: angle + span + 0.3 / ring.radius,
        isPanel: !block.counts.length,
        firstRow,
        endRow: plan.rows.length,
      });
      angle += span + gap;
    }
  }
  plan.areas.sort((a, b) => a.section - b.section);
}

function packRings(blocks: Block[], start: number): Ring[] {
  const rings: Ring[] = [{ radius: start, depth: 0, wedges: [] }];
  let used = 0;
  for (const block of blocks) {
    let ring = rings[rings.length - 1]!;
    let span = spanOf(block, ring.radius);
    if (ring.wedges.length && used + span + WEDGE_GAP / ring.radius > 2 * Math.PI) {
      ring = { radius: ring.radius + ring.depth + RING_GAP, depth: 0, wedges: [] };
      rings.push(ring);
      used = 0;
      span = spanOf(block, ring.radius);
    }
    ring.wedges.push({ block, span });
    ring.depth = Math.max(ring.depth, block.counts.length * ROW_STEP, block.counts.length ? 0 : 8);
    used += span + WEDGE_GAP / ring.radius;
  }
  return rings;
}

function spanOf(block: Block, radius: number): number {
  if (!block.counts.length) return Math.min(1.9 * Math.PI, Math.max(0.3, (block.capacity * 0.3) / (radius * 8)));
  return Math.min(1.9 * Math.PI, Math.max(...block.counts.map((count, row) => count / (radius + row * ROW_STEP))));
}

function placeSeats(plan: Plan): void {
  plan.rows.forEach((row, index) => {
    for (let i = 0; i < row.count; i++) {
      const angle = row.angle + (i - (row.count - 1) / 2) / row.radius;
      const seat = row.first + i;
      plan.x[seat] = row.radius * Math.sin(angle);
      plan.y[seat] = row.radius * Math.cos(angle);
      plan.rowOf[seat] = index;
    }
  });
}

function boundsOf(plan: Plan): Plan['bounds'] {
  const { stage } = plan;
  const bounds = stage.isRound
    ? { left: -stage.outer, top: -stage.outer, right: stage.outer, bottom: stage.outer }
    : { left: -stage.outer * Math.sin(stage.half), top: stage.inner * Math.cos(stage.half), right: stage.outer * Math.sin(stage.half), bottom: stage.outer };
  const add = (x: number, y: number, margin: number) => {
    bounds.left = Math.min(bounds.left, x - margin);
    bounds.right = Math.max(bounds.right, x + margin);
    bounds.top = Math.min(bounds.top, y - margin);
    bounds.bottom = Math.max(bounds.bottom, y + margin);
  };
  // Row names stand beside the ends.
  for (let seat = 1; seat < plan.x.length; seat++) if (plan.rowOf[seat] !== NO_ROW) add(plan.x[seat]!, plan.y[seat]!, 1);
  for (const area of plan.areas) {
    // Shapes of wedges are wider than their rows.
    if (!area.isPanel && !plan.isRings) continue;
    for (let i = 0; i <= 16; i++) {
      const angle = area.from + ((area.to - area.from) * i) / 16;
      for (const radius of [area.inner, area.outer]) add(radius * Math.sin(angle), radius * Math.cos(angle), 0.5);
    }
  }
  return bounds;
}

/** The seat or the section at a point; by radius and angle. */
export function hit(plan: Plan, x: number, y: number): { seat?: number; section: number } | null {
  const radius = Math.hypot(x, y);
  const angle = Math.atan2(x, y);
  for (const area of plan.areas) {
    if (radius < area.inner - 0.3 || radius > area.outer + 0.3) continue;
    const margin = 1 / radius;
    if (!isBetween(angle, area.from - margin, area.to + margin)) continue;
    if (area.isPanel) return { section: area.section };
    const seat = seatAt(plan, area, radius, angle);
    return seat ? { seat, section: area.section } : { section: area.section };
  }
  return null;
}

function isBetween(angle: number, from: number, to: number): boolean {
  const turn = 2 * Math.PI;
  const offset = (((angle - from) % turn) + turn) % turn;
  return offset <= to - from;
}

function seatAt(plan: Plan, area: Area, radius: number, angle: number): number | undefined {
  for (let index = area.firstRow; index < area.endRow; index++) {
    const row = plan.rows[index]!;
    if (Math.abs(row.radius - radius) > ROW_STEP / 2) continue;
    let turn = angle - row.angle;
    if (turn > Math.PI) turn -= 2 * Math.PI;
    if (turn < -Math.PI) turn += 2 * Math.PI;
    const position = Math.round(turn * row.radius + (row.count - 1) / 2);
    if (position >= 0 && position < row.count) return row.first + position;
  }
  return undefined;
}
