import type { JSX } from 'preact';

const paths = {
  close: 'M4 4l8 8M12 4l-8 8',
  plus: 'M8 3v10M3 8h10',
  minus: 'M3 8h10',
  fit: 'M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3',
  down: 'M4 6l4 4 4-4',
  right: 'M6 4l4 4-4 4',
  left: 'M10 4L6 8l4 4',
  check: 'M3.5 8.5l3 3 6-7',
  clock: 'M8 2a6 6 0 100 12A6 6 0 008 2zM8 5v3l2 1.5',
  keyboard: 'M2 4.5h12v7H2zM4.5 7h.01M7 7h.01M9.5 7h.01M12 7h.01M5 9.5h6',
  search: 'M7 2.5a4.5 4.5 0 100 9 4.5 4.5 0 000-9zM10.5 10.5L14 14',
  pulse: 'M1.5 8h3l2-5 3 10 2-5h3',
  calendar: 'M2.5 4h11v9.5h-11zM2.5 7h11M5.5 2.5V5M10.5 2.5V5',
  ticket: 'M2 4.5h12v2.2a1.4 1.4 0 000 2.7v2.1H2V9.4a1.4 1.4 0 000-2.7zM6 4.5v7',
  people: 'M6 3a2.3 2.3 0 100 4.6A2.3 2.3 0 006 3zM1.5 13c0-2.5 2-4 4.5-4s4.5 1.5 4.5 4M10.5 3.2a2.2 2.2 0 010 4.2M12 9.3c1.6.5 2.5 1.9 2.5 3.7',
  report: 'M3.5 2h9v12h-9zM6 5.5h4M6 8h4M6 10.5h2.5',
  gauge: 'M2.5 12.5a6.5 6.5 0 1111 0M8 10l2.5-4',
  shield: 'M8 2l5 2v4c0 3-2.2 5-5 6-2.8-1-5-3-5-6V4z',
  inbox: 'M2.5 9.5l2-6.5h7l2 6.5v4h-11zM2.5 9.5h3.2l1 2h2.6l1-2h3.2',
  list: 'M3.5 2.5h9v11h-9zM6 5.5h4M6 8h4M6 10.5h4',
  heart: 'M8 13.5S2 10 2 6a3 3 0 016-.8A3 3 0 0114 6c0 4-6 7.5-6 7.5z',
  pause: 'M5.5 3.5v9M10.5 3.5v9',
  play: 'M5 3l8 5-8 5z',
  undo: 'M6 4L3 7l3 3M3 7h6.5a3.5 3.5 0 010 7H7',
  copy: 'M6 6h7.5v7.5H6zM10 6V2.5H2.5V10H6',
  sun: 'M8 5a3 3 0 100 6 3 3 0 000-6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1',
  moon: 'M13.5 9.5A6 6 0 016.5 2.5a5.7 5.7 0 107 7z',
  key: 'M10.5 2.5a3 3 0 11-2.8 4L2.5 11.7v2h2v-1.5H6v-1.5h1.3L9 9',
  warn: 'M8 2.5L14.5 13.5h-13zM8 6.5v3M8 11.5v.01',
  lock: 'M3.5 7h9v6.5h-9zM5.5 7V5a2.5 2.5 0 015 0v2',
  menu: 'M2.5 4.5h11M2.5 8h11M2.5 11.5h11',
} as const;
export type IconName = keyof typeof paths;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }): JSX.Element {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}

/** The mark: brackets around a dot, "held". */
export function Logo({ size = 24 }: { size?: number }): JSX.Element {
  return (
    <svg class="logo" width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.5" aria-hidden="true">
      <path d="M8.5 4H5v16h3.5M15.5 4H19v16h-3.5" />
      <circle cx="12" cy="12" r="3.2" fill="var(--action)" stroke="none" />
    </svg>
  );
}
