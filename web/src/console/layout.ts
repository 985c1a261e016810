import type { NewSection } from '../api/types';

/** Layout files in JSON, as `holdfastctl event create --layout` reads them. */

interface RowItem {
  row?: string;
  from?: string | number;
  to?: string | number;
  count?: number;
  skip?: (string | number)[];
  seats?: number;
}

const ROWS_MAX = 100_000;

export function parseLayout(text: string): NewSection[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`Not JSON: ${error instanceof Error ? error.message : String(error)}. Layout files in TOML are read by holdfastctl.`);
  }
  const sections = (value as { sections?: unknown }).sections;
  if (!Array.isArray(sections) || !sections.length) throw new Error('A layout is {"sections": [...]} with at least one section');
  return sections.map((section: Record<string, unknown>, index) => {
    const place = `sections[${index}]`;
    const { name, price, capacity, rows } = section;
    if (typeof name !== 'string' || !name) throw new Error(`${place}: name is missing`);
    if (!Number.isInteger(price)) throw new Error(`${place} "${name}": price must be a whole number of minor units`);
    if ((rows === undefined) === (capacity === undefined)) throw new Error(`${place} "${name}": give either rows or a capacity`);
    if (capacity !== undefined) return { name, price: price as number, capacity: capacity as number };
    const items = (Array.isArray(rows) ? rows : [rows]) as RowItem[];
    return { name, price: price as number, rows: items.flatMap((item) => expand(item, `${place} "${name}"`)) };
  });
}

/** `{row}`, `{from, to}` or `{count}`, each with `seats`; the latter two with `skip`. */
export function expand(item: RowItem, place: string): { row: string; seats: number }[] {
  const { seats } = item;
  if (!Number.isInteger(seats) || seats! < 1) throw new Error(`${place}: seats must be a whole number from 1`);
  if (item.row !== undefined) return [{ row: String(item.row), seats: seats! }];
  const first = item.from === undefined ? 'A' : String(item.from);
  const skip = new Set((item.skip ?? []).map(String));
  const names: string[] = [];
  const last = item.to === undefined ? undefined : String(item.to);
  if (last === undefined && !item.count) throw new Error(`${place}: give row, from and to, or count`);
  for (let name = first; names.length < ROWS_MAX; name = nextName(name)) {
    if (!skip.has(name)) names.push(name);
    if (last === undefined ? names.length === item.count : name === last) return names.map((row) => ({ row, seats: seats! }));
    if (last !== undefined && name.length > last.length) throw new Error(`${place}: ${last} does not come after ${first}`);
  }
  throw new Error(`${place}: an event has at most ${ROWS_MAX} rows`);
}

/** "1" to "2", "A" to "B", "Z" to "AA". */
export function nextName(name: string): string {
  if (/^\d+$/.test(name)) return String(Number(name) + 1);
  const letters = [...name];
  for (let i = letters.length - 1; i >= 0; i--) {
    if (letters[i] !== 'Z') {
      letters[i] = String.fromCharCode(letters[i]!.charCodeAt(0) + 1);
      return letters.join('');
    }
    letters[i] = 'A';
  }
  return `A${letters.join('')}`;
}

export function seatsOf(section: NewSection): number {
  return section.capacity ?? (section.rows ?? []).reduce((total, row) => total + row.seats, 0);
}
