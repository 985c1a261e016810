/** Colours of the map, from the page's tokens. */
export interface Palette {
  tiers: string[];
  surface: string;
  bg: string;
  sunken: string;
  line: string;
  lineStrong: string;
  text: string;
  text2: string;
  text3: string;
  ink: string;
  onInk: string;
  action: string;
  onAction: string;
  held: string;
  sold: string;
  blocked: string;
  bad: string;
  font: string;
}

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const get = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    tiers: [0, 1, 2, 3].map((tier) => get(`tier${tier}`)),
    surface: get('surface'),
    bg: get('bg'),
    sunken: get('sunken'),
    line: get('line'),
    lineStrong: get('line-strong'),
    text: get('text'),
    text2: get('text2'),
    text3: get('text3'),
    ink: get('ink'),
    onInk: get('on-ink'),
    action: get('action'),
    onAction: get('on-action'),
    held: get('held'),
    sold: get('sold'),
    blocked: get('blocked'),
    bad: get('bad'),
    font: get('font'),
  };
}

const HEAT = ['#1c2130', '#33307a', '#7a3596', '#cf4f78', '#f58f56', '#fce3a0'];

/** 64 steps from cold to hot. */
export const HEAT_STEPS: string[] = Array.from({ length: 64 }, (_, step) => {
  const at = (step / 63) * (HEAT.length - 1);
  const low = Math.min(HEAT.length - 2, Math.floor(at));
  const channels = (colour: string) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  const from = channels(HEAT[low]!);
  const to = channels(HEAT[low + 1]!);
  return `rgb(${from.map((value, i) => Math.round(value + (to[i]! - value) * (at - low))).join(' ')})`;
});

export function heatColour(share: number): string {
  return HEAT_STEPS[Math.round(Math.min(1, Math.max(0, share)) * 63)]!;
}
