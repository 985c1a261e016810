import type { JSX } from 'preact';
import { formatMoney, formatNumber, formatUtc, minorDigits, plural } from '../base/format';
import { Button } from '../base/ui';
import { admin } from './admin';
import { StackedBars } from './charts';
import { Checks } from './Checks';
import { useAct, useLoad } from './load';
import { Bar, EventBadge, EventPicker, Note, REASON_WORDS, Waits } from './parts';
import { PLACE_WORDS } from './Requests';
import { currentId, events, watch } from './state';
import { PLACES, type SaleReport } from './types';

const HOUR_MS = 3_600_000;

/** Takings, funnel, refusals and checks of one event; prints on one page. */
export function Report(): JSX.Element {
  const id = currentId.value;
  const event = watch.value?.id === id ? watch.value?.event.value : undefined;
  const report = useLoad(() => admin.report(id ?? 0), [id]);
  const { busy, failure, act } = useAct();
  const body = report.data.value;
  const download = () => act(async () => save((await admin.sales(id ?? 0)).body, `sales-${id}.csv`));
  return (
    <>
      <Bar
        actions={
          <>
            <Button icon="report" onClick={() => print()}>Print</Button>
            <Button busy={busy} disabled={!body} onClick={() => void download()}>CSV</Button>
          </>
        }
      >
        <h1>Report</h1>
        <EventPicker />
        {event && <EventBadge status={event.status} />}
      </Bar>
      <main class="body report">
        {failure && <Note message={failure} />}
        {events.value?.length === 0 ? <p class="card empty">No events yet.</p> : <Waits of={report} />}
        {body && (
          <>
            <p class="t2">
              <b class="print-only">{body.name}. </b>
              {event?.venue && `${event.venue}. `}Sales of the archive as of {body.as_of ? `${formatUtc(body.as_of)} UTC` : '–'}. <button type="button" class="link" disabled={report.busy.value} onClick={() => void report.reload()}>Read again</button>
            </p>
            <Takings report={body} />
            <div class="columns even">
              <ByHour report={body} />
              <Funnel report={body} />
            </div>
            <div class="columns even">
              <Refusals report={body} />
              <Checks event={body.event_id} key={body.event_id} />
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

function Takings({ report }: { report: SaleReport }): JSX.Element {
  const { takings, sections, currency } = report;
  const counts = watch.value?.id === report.event_id ? watch.value.house?.counts.value : undefined;
  const most = Math.max(1, takings.sold);
  const money = (amount: number) => formatMoney(amount, currency);
  return (
    <section class="card table-card" tabIndex={0} aria-label="Takings by section">
      <div class="row head">
        <h2>Takings by section</h2>
        <span class="grow t3">{plural(takings.bookings_sold, 'booking')}, {plural(takings.seats_sold, 'seat')}{takings.cancelled ? `, ${money(takings.cancelled)} given back` : ''}</span>
        <b>{money(takings.sold)}</b>
      </div>
      <table>
        <thead><tr><th>Section</th><th class="num">Price</th><th class="num">Seats</th><th class="num">Free</th><th class="num">Held</th><th class="num">Sold</th><th class="num">Takings</th><th>Share</th></tr></thead>
        <tbody>
          {sections.map((section, index) => (
            <tr>
              <td><b>{section.name}</b></td>
              <td class="num">{money(section.price)}</td>
              <td class="num">{formatNumber(section.seats)}</td>
              <td class="num">{formatNumber(counts?.[index]?.free)}</td>
              <td class="num">{formatNumber(counts?.[index]?.held)}</td>
              <td class="num">{formatNumber(section.seats_sold)}</td>
              <td class="num"><b>{money(section.takings)}</b></td>
              <td class="share"><span class="meter"><i class="fill free" style={{ width: `${(100 * section.takings) / most}%` }} /></span></td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function ByHour({ report: { hours, currency } }: { report: SaleReport }): JSX.Element {
  const at = (hour: { hour: string }) => Date.parse(hour.hour);
  const to = (hours.length ? Math.max(...hours.map(at)) : Math.floor(Date.now() / HOUR_MS) * HOUR_MS) + HOUR_MS;
  const from = Math.min(...hours.map(at), to - 8 * HOUR_MS) - HOUR_MS / 2;
  const best = hours.reduce<(typeof hours)[number] | undefined>((a, b) => (!a || b.takings > a.takings ? b : a), undefined);
  const scale = 10 ** -minorDigits(currency);
  return (
    <section class="card chart-card">
      <div class="row head"><h2 class="grow">Takings by hour</h2><span class="t3">{currency}, UTC</span></div>
      {hours.length === 0 ? (
        <p class="empty">Nothing is sold yet.</p>
      ) : (
        <StackedBars bars={hours.map((hour) => ({ at: at(hour) + HOUR_MS / 2, parts: [hour.takings * scale] }))} tones={['granted']} from={from} to={to} label="Takings by hour" tickMs={HOUR_MS} wide={560} />
      )}
      {best && <p class="t3 small">Best hour: {best.hour.slice(11, 16)} UTC, {formatMoney(best.takings, currency)} for {plural(best.seats, 'seat')}</p>}
    </section>
  );
}

const sinceWords = (report: SaleReport) => (report.counted_since ? `since ${formatUtc(report.counted_since)} UTC` : 'nothing counted yet');

function Funnel({ report }: { report: SaleReport }): JSX.Element {
  const { asked, held, paid } = report.funnel;
  const steps: [string, number, number][] = [['Asked', asked, asked], ['Held', held, asked], ['Paid', paid, held]];
  const most = Math.max(1, asked, held);
  return (
    <section class="card funnel">
      <div class="row head"><h2 class="grow">Funnel</h2><span class="t3 small">requests, {sinceWords(report)}</span></div>
      <ol>
        {steps.map(([label, value, before], index) => (
          <li>
            <div class="row"><span class="grow">{label}</span><b>{formatNumber(value)}</b><span class="t3 share">{index === 0 || !before ? '' : `${Math.round((100 * value) / before)}%`}</span></div>
            <div class="meter thick"><i class="fill free" style={{ width: `${(100 * value) / most}%` }} /></div>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Refusals({ report }: { report: SaleReport }): JSX.Element {
  const reasons = Object.entries(report.refused).filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
  const most = reasons[0]?.[1] ?? 1;
  return (
    <section class="card funnel">
      <div class="row head"><h2 class="grow">Refusals by reason</h2><span class="t3 small">{sinceWords(report)}</span></div>
      {reasons.length === 0 && <p class="empty">None.</p>}
      <ol>
        {reasons.map(([reason, count]) => (
          <li>
            <div class="row"><span class="grow">{REASON_WORDS[reason] ?? reason}</span><b>{formatNumber(count)}</b></div>
            <div class="meter"><i class="fill taken" style={{ width: `${(100 * count) / most}%` }} /></div>
          </li>
        ))}
      </ol>
      {reasons.length > 0 && <p class="t3 small places-line">{PLACES.map((place) => `${PLACE_WORDS[place]} ${formatNumber(report.refused_by_place[place])}`).join(' · ')}</p>}
    </section>
  );
}
