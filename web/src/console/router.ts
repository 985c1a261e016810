import { signal } from '@preact/signals';

const SECTIONS = ['live', 'events', 'bookings', 'rooms', 'report', 'limits', 'access', 'dead-letters', 'audit'] as const;
export type Section = (typeof SECTIONS)[number];
export interface Route {
  section: Section;
  /** `/console/live/7`, `/console/bookings/ID`. */
  id: string | undefined;
}

function read(): Route {
  const [, , section = 'live', id] = location.pathname.split('/');
  return { section: SECTIONS.find((one) => one === section) ?? 'live', id: id ? decodeURIComponent(id) : undefined };
}

export const route = signal<Route>(read());

export function pathOf(section: Section, id?: string | number): string {
  return id === undefined ? (section === 'live' ? '/console' : `/console/${section}`) : `/console/${section}/${encodeURIComponent(id)}`;
}

export function go(path: string): void {
  history.pushState(null, '', path);
  route.value = read();
}

window.addEventListener('popstate', () => (route.value = read()));

/** Links of the console go without a reload. */
export function onLink(event: MouseEvent): void {
  const link = (event.target as Element).closest?.('a[href^="/console"]');
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  go(link.getAttribute('href')!);
}
