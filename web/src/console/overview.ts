import { computed, signal } from '@preact/signals';
import { admin } from './admin';
import { currentId } from './state';
import { PLACES, type Overview, type Place, type Series } from './types';

/** As often as the server adds a point to its series. */
const EVERY_MS = 5000;
/** The server's last points still rise. */
const OPEN_POINTS = 2;
const TREND_MAX = 180;

/** The event that is watched, and what all API processes did for it in the last 15 minutes. */
export const overview = signal<Overview | null>(null);
/** The same of requests whose event was not known yet: most refusals by limits. */
export const general = signal<Overview | null>(null);
export const isOverviewLost = signal(false);
/** What has no series at the server, as this page has seen it. */
export const trend = signal<{ event: number; behind: number[]; waiting: number[] }>({ event: 0, behind: [], waiting: [] });
/** When the server last said how it is, milliseconds of this device's time. */
export const heardAt = signal(0);

/** Reads the overview of the watched event, and of the whole. */
export async function loadOverview(): Promise<void> {
  const id = currentId.value ?? undefined;
  try {
    const [whole, event] = await Promise.all([admin.overview(), id === undefined ? null : admin.overview(id).catch(forgetUnknown)]);
    general.value = whole.body;
    if (id === (currentId.value ?? undefined)) {
      overview.value = event?.body ?? null;
      note(event?.body ?? whole.body);
    }
    heardAt.value = Date.now();
    isOverviewLost.value = false;
  } catch (error) {
    isOverviewLost.value = true;
    console.warn('No overview', error);
  }
}

/** An event of last time may be gone: the whole is still there. */
function forgetUnknown(error: unknown): null {
  console.warn('No overview of this event', error);
  return null;
}

/** Follows it while the console is open. Returns how to stop. */
export function followOverview(): () => void {
  const timer = setInterval(() => !document.hidden && void loadOverview(), EVERY_MS);
  const stop = currentId.subscribe(() => void loadOverview());
  return () => {
    clearInterval(timer);
    stop();
  };
}

function note({ event, archive, waiting_room }: Overview): void {
  const id = event?.id ?? 0;
  const before = trend.value.event === id ? trend.value : { behind: [], waiting: [] };
  const add = (list: number[], value: number | undefined) => (value === undefined ? list : [...list, value].slice(-TREND_MAX));
  trend.value = { event: id, behind: add(before.behind, archive?.seconds_behind), waiting: add(before.waiting, waiting_room?.waiting) };
}

/** Of the whole where no event is watched. */
export const health = computed(() => overview.value?.health ?? general.value?.health ?? null);
export const archive = computed(() => overview.value?.archive ?? general.value?.archive ?? null);

/** API processes that have answered anything in the last 15 minutes. */
export const processes = computed(() => Math.max(general.value?.series?.processes ?? 0, overview.value?.series?.processes ?? 0, 1));

/** A point of the requests for seats, counts a second. */
export interface RequestRate {
  at: number;
  held: number;
  taken: number;
  gated: number;
}

/** Requests for seats in the last 15 minutes. Without the points that still rise. */
export const requestRates = computed<RequestRate[]>(() => {
  const series = overview.value?.series;
  if (!series) return [];
  const limits = general.value?.series?.refused.limits ?? [];
  const from = Date.parse(series.from);
  const step = series.step_seconds;
  return Array.from({ length: Math.max(0, series.points - OPEN_POINTS) }, (_, i) => ({
    at: from + (i + 0.5) * step * 1000,
    held: (series.held[i] ?? 0) / step,
    taken: ((series.refused.memory[i] ?? 0) + (series.refused.redis[i] ?? 0)) / step,
    gated: ((series.refused.waiting_room[i] ?? 0) + (series.refused.limits[i] ?? 0) + (limits[i] ?? 0)) / step,
  }));
});

const sum = (values: number[] | undefined) => (values ?? []).reduce((total, value) => total + value, 0);

/** Refusals of the last 15 minutes by place; `null` before they are known. */
export function refusedByPlace(): Record<Place, number> | null {
  const series = overview.value?.series;
  if (!series) return null;
  const counts = Object.fromEntries(PLACES.map((place) => [place, sum(series.refused[place])])) as Record<Place, number>;
  counts.limits += sum(general.value?.series?.refused.limits);
  return counts;
}

/** Refusals of the last 15 minutes by reason, most frequent first. */
export function refusedByReason(): [string, number][] {
  const reasons = Object.entries(overview.value?.series?.refused_by_reason ?? {}).map(([reason, counts]) => [reason, sum(counts)] as [string, number]);
  return reasons.filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
}

/** Free, held and sold seats in the last 15 minutes: from those of now, backwards. */
export function seatHistory(now: { free: number; held: number; sold: number }, series: Series | null | undefined): { free: number[]; held: number[]; sold: number[] } {
  const history = { free: [now.free], held: [now.held], sold: [now.sold] };
  let { free, held, sold } = now;
  for (let i = (series?.points ?? 0) - 1; i >= 0; i--) {
    const [taken, bought, back] = [series!.seats_held[i] ?? 0, series!.seats_confirmed[i] ?? 0, series!.seats_returned[i] ?? 0];
    free += taken - back;
    sold = Math.max(0, sold - bought);
    held = Math.max(0, held - taken + bought + back);
    history.free.unshift(free);
    history.held.unshift(held);
    history.sold.unshift(sold);
  }
  return history;
}
