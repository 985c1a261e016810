/** Numbers, money and times as people read them: by the browser's locale. */

const money = new Map<string, Intl.NumberFormat>();
const integer = new Intl.NumberFormat();

/** Digits after the point by ISO 4217, as the server counts them. The browser's own data has other digits for some (HUF, IQD). */
const NO_MINOR = new Set('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF'.split(' '));
const THREE_DIGITS = new Set('BHD IQD JOD KWD LYD OMR TND'.split(' '));

/** Number of digits after the point of a currency. */
export function minorDigits(currency: string): number {
  return NO_MINOR.has(currency) ? 0 : THREE_DIGITS.has(currency) ? 3 : 2;
}

function moneyFormat(currency: string, digits: number): Intl.NumberFormat {
  const key = `${currency}${digits}`;
  let format = money.get(key);
  if (!format) {
    format = new Intl.NumberFormat(undefined, { style: 'currency', currency, currencyDisplay: 'narrowSymbol', minimumFractionDigits: digits, maximumFractionDigits: digits });
    money.set(key, format);
  }
  return format;
}

/** An amount in minor units. */
export function formatMoney(minor: number | null | undefined, currency: string): string {
  if (minor == null) return '–';
  const digits = minorDigits(currency);
  return moneyFormat(currency, digits).format(minor / 10 ** digits);
}

/** An amount without digits after the point where these are zero: for narrow places. */
export function formatPriceShort(minor: number, currency: string): string {
  const units = minor / 10 ** minorDigits(currency);
  return Number.isInteger(units) ? moneyFormat(currency, 0).format(units) : formatMoney(minor, currency);
}

export function formatNumber(value: number | null | undefined): string {
  return value == null ? '–' : integer.format(value);
}

/** A rate with three digits. */
export function formatRate(value: number | null | undefined): string {
  if (value == null) return '–';
  if (value === 0) return '0';
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return new Intl.NumberFormat(undefined, { maximumFractionDigits: digits, minimumFractionDigits: 0 }).format(value);
}

const dateTime = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(undefined, options);
const formats = {
  long: dateTime({ weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' }),
  short: dateTime({ day: 'numeric', month: 'short' }),
  day: dateTime({ day: 'numeric', month: 'long' }),
  time: dateTime({ hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }),
  utcDay: dateTime({ day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC' }),
  utcShort: dateTime({ day: 'numeric', month: 'short', timeZone: 'UTC' }),
};

/** "Saturday 12 December 2026, 19:30", in the reader's own time zone. */
export function formatWhen(iso: string): string {
  const date = new Date(iso);
  return `${formats.long.format(date)}, ${formats.time.format(date)}`;
}

/** "12 Dec, 19:30". */
export function formatWhenShort(iso: string): string {
  const date = new Date(iso);
  return `${formats.short.format(date)}, ${formats.time.format(date)}`;
}

/** "2 October, 10:00". */
export function formatDayTime(iso: string): string {
  const date = new Date(iso);
  return `${formats.day.format(date)}, ${formats.time.format(date)}`;
}

/** "10:00". */
export function formatTime(iso: string): string {
  return formats.time.format(new Date(iso));
}

/** "12 Dec 2026, 19:30 UTC" for operators. */
export function formatUtc(iso: string | null | undefined): string {
  if (!iso) return '–';
  return `${formats.utcShort.format(new Date(iso))} ${iso.slice(0, 4)}, ${iso.slice(11, 16)}`;
}

export function formatUtcDay(iso: string): string {
  return formats.utcDay.format(new Date(iso));
}

/** "10:00:41.118" (UTC). */
export function formatUtcTime(iso: string, withMs = true): string {
  return iso.slice(11, withMs ? 23 : 19);
}

/** "4:12", and "1:04:12" from an hour on. */
export function formatCountdown(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const pad = (value: number) => String(value).padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(seconds % 60)}` : `${minutes}:${pad(seconds % 60)}`;
}

/** "0.4 s", "42 ms", "3 min", "2 h 5 min". */
export function formatAge(ms: number | null | undefined): string {
  if (ms == null || !Number.isFinite(ms)) return '–';
  if (ms < 100) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.round(hours / 24)} days`;
}

/** "5 minutes", in words for people. */
export function formatDuration(seconds: number): string {
  if (seconds < 60) return plural(Math.round(seconds), 'second');
  const minutes = seconds / 60;
  return minutes < 90 ? plural(Math.round(minutes), 'minute') : plural(Math.round(minutes / 60), 'hour');
}

export function plural(count: number, noun: string, many = `${noun}s`): string {
  return `${formatNumber(count)} ${count === 1 ? noun : many}`;
}

/** An id, cut in the middle. */
export function shortId(id: string): string {
  return id.length <= 16 ? id : `${id.slice(0, 8)}…${id.slice(-6)}`;
}

const numberWords = ['No', 'One', 'Two', 'Three', 'Four', 'Five', 'Six', 'Seven', 'Eight', 'Nine', 'Ten'];
export function countWord(count: number): string {
  return numberWords[count] ?? formatNumber(count);
}
