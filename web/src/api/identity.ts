import { signal } from '@preact/signals';
import { device, tab } from '../base/storage';

/**
 * Who the buyer is. A shop that signs its buyers in links to the page with their token in the
 * fragment (`/events/1#token=…`), which no server sees; it is kept for the tab. Without a token the
 * page names its user by `X-User-Id`, which servers with `auth = "trusted"` accept.
 */
function takeToken(): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!token) return tab.get('token');
  history.replaceState(history.state, '', location.pathname + location.search);
  tab.set('token', token);
  return token;
}

function guest(): string {
  const kept = device.get('user');
  if (kept) return kept;
  const name = `guest-${[...crypto.getRandomValues(new Uint8Array(4))].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
  device.set('user', name);
  return name;
}

function subject(token: string): string {
  try {
    const part = token.split('.')[1] ?? '';
    const claims = JSON.parse(atob(part.replace(/-/g, '+').replace(/_/g, '/'))) as { sub?: string | number };
    return String(claims.sub ?? 'you');
  } catch {
    return 'you';
  }
}

export const token = takeToken();
export const user = signal(token ? subject(token) : guest());

export function setUser(name: string): void {
  device.set('user', name);
  user.value = name;
}

/** Headers that name the buyer. */
export function userHeaders(): Record<string, string> {
  return token ? { Authorization: `Bearer ${token}` } : { 'X-User-Id': user.value };
}

/** A new idempotency key. `randomUUID` exists in secure contexts only. */
export function newKey(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
