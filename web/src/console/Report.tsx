import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { formatMoney, formatNumber, formatUtc } from '../base/format';
import { Icon } from '../base/icons';
import { Button, CopyId } from '../base/ui';
import { messageOf, type Message } from '../base/words';
import { admin } from './admin';
import { StackedBars } from './charts';
import { readSales, type SaleLine } from './csv';
import { followMetrics, sample } from './metrics';
import { Bar, EventBadge, Note } from './parts';
import { events, watch, watchEvent } from './state';
import type { Watch } from './watch';

const HOUR_MS = 3_600_000;

/** Takings, funnel and refusals of one event; prints on one page. */
export function Report(): JSX.Element {
  useEffect(followMetrics, []);
  const current = watch.value;
  const event = current?.event.value;
  const text = useSignal('');
  const sales = useSignal<SaleLine[] | null>(null);
  const readAt = useSignal('');
  const busy = useSignal(false);
  const failure = useSignal<Message | null>(null);
  const load = async () => {
    if (!current) return;
    busy.value = true;
    try {
      text.value = (await admin.sales(current.id)).body;
      sales.value = readSales(text.value);
      readAt.value = new Date().toISOString();
      failure.value = null;
    } catch (error) {
      failure.value = messageOf(error);
    }
    busy.value = false;
  };
  useEffect(() => {
    sales.value = null;
    void load();
  }, [current?.id]);
  return (
    <>
      <Bar
        actions={
          <>
            <Button icon="report" onClick={() => print()}>Print</Button>
            <Button disabled={!text.value} onClick={() => save(text.value, `sales-${current?.id}.csv`)}>CSV</Button>
          </>
        }
      >
        <h1>Report</h1>
        {event && (
          <label class="pick-event">
            <span class="sr">Event</span>
            <select value={event.id} onChange={(change) => watchEvent(Number(change.currentTarget.value))}>
              {(events.value ?? [event]).map((one) => <option value={one.id}>{one.name}</option>)}
            </select>
            <Icon name="down" size={14} />
          </label>
        )}
        {event && <EventBadge status={event.status} />}
      </Bar>
      <main class="body report">
        {failure.value && <Note message={failure.value} />}
        {events.value?.length === 0 && <p class="card empty">No events yet.</p>}
        {current && event && (
          <>
            <p class="t2">{event.name}{event.venue && `, ${event.venue}`}. Sales of the archive as of {readAt.value ? `${formatUtc(readAt.value)} UTC` : '–'}. <button type="button" class="link" disabled={busy.value} onClick={() => void load()}>Read again</button></p>
            <Takings watch={current} sales={sales.value} />
            <div class="columns even">
              <ByHour currency={event.currency} sales={sales.value} />
              <Funnel />
            </div>
            <div class="columns even">
              <Refusals />
              <Checks />
            </div>
          </>
        )}
      </main>
    </>
  );
}

function save(text: string, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/csv' }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function Takings({ watch: current, sales }: { watch: Watch; sales: SaleLine[] | null }): JSX.Element {
  const event = current.event.value!;
  const counts = current.house.counts.value;
  const rows = (event.sections ?? []).map((section, index) => {
    const lines = sales?.filter((line) => line.section === section.name);
    return { section, count: counts[index], sold: lines?.length ?? null, money: lines?.reduce((sum, line) => sum + line.price, 0) ?? null };
  });
  const sum = sales?.reduce((total, line) => total + line.price, 0) ?? null;
  return (
    <section class="card table-card" tabIndex={0} aria-label="Takings by section">
      <div class="row head"><h2 class="grow">Takings by section</h2><b>{sum === null ? '–' : formatMoney(sum, event.currency)}</b></div>
      <table>
        <thead><tr><th>Section</th><th class="num">Price</th><th class="num">Seats</th><th class="num">Free</th><th class="num">Held</th><th class="num">Sold</th><th class="num">Takings</th><th>Share</th></tr></thead>
        <tbody>
          {rows.map(({ section, count, sold, money }) => (
            <tr>
              <td><b>{section.name}</b></td>
              <td class="num">{formatMoney(section.price, event.currency)}</td>
              <td class="num">{formatNumber(section.total_seats)}</td>
              <td class="num">{formatNumber(count?.free)}</td>
              <td class="num">{formatNumber(count?.held)}</td>
              <td class="num">{formatNumber(sold)}</td>
              <td class="num"><b>{money === null ? '–' : formatMoney(money, event.currency)}</b></td>
              <td class="share"><span class="meter"><i class="fill free" style={{ width: sum && money ? `${(100 * money) / sum}%` : '0' }} /></span></td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function ByHour({ currency, sales }: { currency: string; sales: SaleLine[] | null }): JSX.Element {
  const hours = new Map<number, number>();
  for (const line of sales ?? []) {
    const at = Math.floor(Date.parse(line.confirmedAt) / HOUR_MS) * HOUR_MS;
    if (Number.isFinite(at)) hours.set(at, (hours.get(at) ?? 0) + line.price);
  }
  const keys = [...hours.keys()].sort((a, b) => a - b);
  const best = keys.reduce<number | undefined>((a, b) => (a === undefined || hours.get(b)! > hours.get(a)! ? b : a), undefined);
  const to = (keys[keys.length - 1] ?? Date.now()) + HOUR_MS;
  const from = Math.min(keys[0] ?? to, to - 8 * HOUR_MS) - HOUR_MS / 2;
  const scale = 10 ** -(new Intl.NumberFormat(undefined, { style: 'currency', currency }).resolvedOptions().maximumFractionDigits ?? 2);
  return (
    <section class="card chart-card">
      <div class="row head"><h2 class="grow">Takings by hour</h2><span class="t3">{currency}, UTC</span></div>
      {sales?.length === 0 ? <p class="empty">Nothing is sold yet.</p> : <StackedBars bars={keys.map((at) => ({ at: at + HOUR_MS / 2, parts: [hours.get(at)! * scale] }))} tones={['granted']} from={from} to={to} label="Takings by hour" tickMs={HOUR_MS} />}
      {best !== undefined && <p class="t3 small">Best hour: {new Date(best).toISOString().slice(11, 16)} UTC, {formatMoney(hours.get(best)!, currency)}</p>}
    </section>
  );
}

function Funnel(): JSX.Element {
  const last = sample.value;
  const steps = [
    ['Asked', last?.attempts],
    ['Held', last?.created],
    ['Paid', last?.confirmed],
  ] as const;
  const most = Math.max(1, last?.attempts ?? 1);
  return (
    <section class="card funnel">
      <div class="row head"><h2 class="grow">Funnel</h2><span class="t3 small">one API process since it started</span></div>
      <ol>
        {steps.map(([label, value], index) => (
          <li>
            <div class="row"><span class="grow">{label}</span><b>{formatNumber(value)}</b><span class="t3 share">{value == null || index === 0 ? '' : `${Math.round((100 * value) / Math.max(1, steps[index - 1]![1] ?? 1))}%`}</span></div>
            <div class="meter thick"><i class="fill free" style={{ width: `${(100 * (value ?? 0)) / most}%` }} /></div>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Refusals(): JSX.Element {
  const problems = Object.entries(sample.value?.problems ?? {}).sort((a, b) => b[1] - a[1]);
  const most = problems[0]?.[1] ?? 1;
  return (
    <section class="card funnel">
      <div class="row head"><h2 class="grow">Refusals by reason</h2><span class="t3 small">one API process since it started</span></div>
      {problems.length === 0 && <p class="empty">None.</p>}
      <ol>
        {problems.slice(0, 10).map(([code, count]) => (
          <li>
            <div class="row"><span class="grow mono">{code}</span><b>{formatNumber(count)}</b></div>
            <div class="meter"><i class="fill taken" style={{ width: `${(100 * count) / most}%` }} /></div>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** The checks of the whole; they run on the command line. */
function Checks(): JSX.Element {
  return (
    <section class="card checks">
      <div class="row head"><h2 class="grow">Checks</h2></div>
      {(
        [
          ['verify', 'Redis, the booking log and the archive agree', 'holdfastctl verify'],
          ['reconcile', 'Payments and bookings agree', 'holdfastctl reconcile'],
        ] as const
      ).map(([name, text, command]) => (
        <div class="row check-row">
          <div class="grow">
            <b>{name}</b>
            <p class="t3 small">{text}</p>
          </div>
          <code class="mono">{command}</code>
          <CopyId id={command} label={`Copy ${command}`} />
        </div>
      ))}
      <p class="t3 small">They run from this page once the API has routes for them. Verdict: –</p>
    </section>
  );
}
