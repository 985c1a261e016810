// What the environment says. Every script documents its own defaults in bench/packs/README.md.
import { SharedArray } from 'k6/data';

/** A text setting. */
export function text(name, otherwise) {
  return __ENV[name] || otherwise;
}

/** A number of at least `least`. */
export function number(name, otherwise, least = 0) {
  const given = __ENV[name];
  const value = given ? Number(given) : otherwise;
  if (!(value >= least)) {
    throw new Error(`${name}=${given}: a number of at least ${least} is needed`);
  }
  return value;
}

/** A duration such as 90, 90s, 5m or 2h, in seconds; at least `least`, as k6 takes no shorter stages. */
export function seconds(name, otherwise, least = 1) {
  const given = text(name, otherwise);
  const found = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(given);
  const value = found ? Number(found[1]) * { ms: 0.001, s: 1, m: 60, h: 3600 }[found[2] || 's'] : 0;
  if (value < least) {
    throw new Error(`${name}=${given}: a duration such as 90s, 5m or 2h is needed, of at least ${least} s`);
  }
  return value;
}

export const BASE_URL = text('BASE_URL', 'http://127.0.0.1:8000').replace(/\/+$/, '');
export const EVENT_ID = number('EVENT_ID', 0);
export const ADMIN_KEY = text('ADMIN_KEY', '');
/** Mean of a buyer's pauses, seconds. */
export const THINK = number('THINK', 2);
/** A payment method that the provider accepts. */
export const PAYMENT_METHOD = text('PAYMENT_METHOD', 'card_ok');
export const SUMMARY_JSON = text('SUMMARY_JSON', '');
/** Names that programs give themselves are refused by the bot rules, except where users are trusted. */
export const USER_AGENT = text('USER_AGENT', 'Mozilla/5.0 (load test)');

/** Bearer tokens, one a line; without a file users are named by `X-User-Id`. */
export const TOKENS = new SharedArray('tokens', () => {
  const path = __ENV.TOKENS_FILE;
  if (!path) {
    return [];
  }
  const lines = open(path).split('\n').map((line) => line.trim());
  const tokens = lines.filter((line) => line !== '');
  if (tokens.length === 0) {
    throw new Error(`TOKENS_FILE=${path} has no tokens`);
  }
  return tokens;
});

/** k6's text for a number of seconds. */
export function duration(value) {
  return `${Math.max(1, Math.round(value * 1000))}ms`;
}
