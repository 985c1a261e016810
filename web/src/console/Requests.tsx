import type { JSX } from 'preact';
import { formatNumber } from '../base/format';
import { StackedBars, type Moment } from './charts';
import { isOverviewLost, overview, refusedByPlace, refusedByReason, requestRates } from './overview';
import { REASON_WORDS } from './parts';
import { PLACES, type Place } from './types';

const BARS_MAX = 90;
const SPAN_MS = 15 * 60_000;
const REASONS_MAX = 6;
export const PLACE_WORDS: Record<Place, string> = { memory: 'In memory', redis: 'By Redis', waiting_room: 'By the waiting room', limits: 'By limits' };

/** What became of requests for seats in the last 15 minutes: of all API processes. */
export function Requests(): JSX.Element {
  const rates = requestRates.value;
  const to = (rates[rates.length - 1]?.at ?? Date.now()) + 2500;
  const from = to - SPAN_MS;
  // As many bars as fit: neighbours are averaged.
  const group = Math.max(1, Math.ceil(rates.length / BARS_MAX));
  const bars = [];
  for (let i = 0; i < rates.length; i += group) {
    const part = rates.slice(i, i + group);
    const mean = (name: 'held' | 'taken' | 'gated') => part.reduce((sum, one) => sum + one[name], 0) / part.length;
    bars.push({ at: (part[0]!.at + part[part.length - 1]!.at) / 2, parts: [mean('held'), mean('taken'), mean('gated')] });
  }
  const began = Date.parse(overview.value?.event?.on_sale_at ?? '');
  const moments: Moment[] = began > from && began < to ? [{ at: began, text: `Sale began ${new Date(began).toISOString().slice(11, 19)}` }] : [];
  const places = refusedByPlace();
  const reasons = refusedByReason();
  const most = reasons[0]?.[1] ?? 1;
  return (
    <section class="card requests">
      <div class="row head">
        <h2>Requests for seats</h2>
        <span class="t3">a second, last 15 minutes</span>
        <span class="grow" />
        <span class="key"><i class="granted" />Held</span>
        <span class="key"><i class="taken" />Seat taken</span>
        <span class="key"><i class="gated" />Waiting room or limit</span>
      </div>
      {isOverviewLost.value && <p class="note warn">No figures from the server right now.</p>}
      <StackedBars bars={bars} tones={['granted', 'taken', 'gated']} from={from} to={to} moments={moments} label="Requests for seats a second" />
      <div class="refused">
        <dl class="places" aria-label="Refused by place">
          {PLACES.map((place) => (
            <div>
              <dt>{PLACE_WORDS[place]}</dt>
              <dd>{formatNumber(places?.[place])}</dd>
            </div>
          ))}
        </dl>
        <ul class="reasons" aria-label="Refused by reason">
          {reasons.length === 0 && <li class="t3">{places ? 'Nothing was refused in the last 15 minutes.' : '–'}</li>}
          {reasons.slice(0, REASONS_MAX).map(([reason, count]) => (
            <li>
              <span class="grow cut">{REASON_WORDS[reason] ?? reason}</span>
              <span class="meter"><i class="fill taken" style={{ width: `${(100 * count) / most}%` }} /></span>
              <b>{formatNumber(count)}</b>
            </li>
          ))}
        </ul>
      </div>
    </section>
  );
}
