import { computed, signal } from '@preact/signals';
import type { Answer } from '../api/http';
import type { EventBody, EventList } from '../api/types';
import { device } from '../base/storage';
import { messageOf, type Message } from '../base/words';
import { admin } from './admin';
import { Watch } from './watch';

/** More are found by the search and by their address. */
const EVENTS_MAX = 1000;

export const events = signal<EventBody[] | null>(null);
export const eventsFailure = signal<Message | null>(null);
export const watch = signal<Watch | null>(null);

export async function loadEvents(): Promise<void> {
  try {
    const list: EventBody[] = [];
    let cursor: string | null = null;
    do {
      const { body }: Answer<EventList> = await admin.events(cursor);
      list.push(...body.events);
      cursor = body.next_cursor;
    } while (cursor && list.length < EVENTS_MAX);
    events.value = list;
    eventsFailure.value = null;
  } catch (error) {
    eventsFailure.value = messageOf(error);
  }
}

/** The event that is looked at: that of the address, the one of last time, or the first that is on sale. */
export const currentId = signal<number | null>(Number(device.get('console.event')) || null);

export function watchEvent(id: number): void {
  device.set('console.event', String(id));
  currentId.value = id;
  if (watch.value?.id === id) return;
  watch.value?.stop();
  const next = new Watch(id);
  watch.value = next;
  void next.start();
}

export function watchSome(): void {
  const list = events.value;
  if (!list?.length || watch.value) return;
  const chosen = list.find((event) => event.id === currentId.value) ?? list.find((event) => event.status === 'ON_SALE') ?? list[0]!;
  watchEvent(chosen.id);
}

export const nextSale = computed(() => (events.value ?? []).filter((event) => event.status === 'SCHEDULED' && event.on_sale_at).sort((a, b) => a.on_sale_at!.localeCompare(b.on_sale_at!))[0] ?? null);
