import type { Section } from '../api/types';

/** Which of the four colours fewer prices take: as far apart as they go. */
const SPREAD = [[], [1], [1, 3], [0, 1, 3], [0, 1, 2, 3]];

/** Price tier of each section, 0 the dearest; quartiles of the prices if there are more than four. */
export function tiersOf(sections: Pick<Section, 'price'>[]): number[] {
  const prices = [...new Set(sections.map((section) => section.price))].sort((a, b) => b - a);
  return sections.map((section) => {
    const rank = prices.indexOf(section.price);
    return SPREAD[prices.length]?.[rank] ?? Math.floor((rank * 4) / prices.length);
  });
}
