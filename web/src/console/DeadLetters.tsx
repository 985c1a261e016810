import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { formatNumber, formatUtc, plural, shortId } from '../base/format';
import { Button, Confirm } from '../base/ui';
import { admin } from './admin';
import { useAct, useLoad } from './load';
import { loadOverview } from './overview';
import { Bar, Note, Waits } from './parts';
import { pathOf } from './router';
import type { DeadLetter, Replayed } from './types';

const RESULTS: Record<Replayed['result'], [string, string]> = {
  replayed: ['ok', 'It is in the archive now.'],
  stays: ['bad', 'It still cannot be archived, and stays here.'],
  later: ['warn', 'It could not be tried now. Try it again.'],
};

/** Entries of the booking log that the archive refused; each can be tried again. */
export function DeadLetters(): JSX.Element {
  const letters = useLoad(admin.deadLetters, [], 10_000);
  const asks = useSignal<DeadLetter | null>(null);
  const said = useSignal<{ letter: string; tone: string; text: string; detail: string } | null>(null);
  const { busy, failure, act } = useAct();
  const body = letters.data.value;
  const silent = body?.silent_partitions ?? [];
  const replay = () =>
    act(async () => {
      const { body: answer } = await admin.replay(asks.value!.id);
      const [tone, text] = RESULTS[answer.result];
      said.value = { letter: answer.id, tone, text, detail: [answer.outcome, answer.detail].filter(Boolean).join(', ') };
      asks.value = null;
      await Promise.all([letters.reload(), loadOverview()]);
    });
  return (
    <>
      <Bar><h1>Dead letters</h1>{body && <span class="t3">{formatNumber(body.total)}</span>}</Bar>
      <main class="body">
        <Waits of={letters} />
        {said.value && <p class={`note ${said.value.tone}`} role="status"><b class="mono">{said.value.letter}</b> {said.value.text} {said.value.detail}</p>}
        {silent.length > 0 && <p class="note warn" role="status">The Redis of {plural(silent.length, 'partition')} does not answer: letters of {silent.join(', ')} are not shown.</p>}
        {body?.letters.length === 0 && !silent.length && <p class="card empty">None. Entries that the archive refuses are kept here until somebody has looked at them.</p>}
        {body && body.letters.length > 0 && (
          <section class="card table-card" tabIndex={0} aria-label="Dead letters">
            <table>
              <thead><tr><th>Parked (UTC)</th><th>Letter</th><th>What</th><th>Booking</th><th>Event</th><th>Reason</th><th><span class="sr">Actions</span></th></tr></thead>
              <tbody>
                {body.letters.map((letter) => (
                  <tr key={letter.id}>
                    <td class="t2">{formatUtc(letter.parked_at)}</td>
                    <td class="mono">{letter.id}</td>
                    <td>{letter.is_readable ? (letter.kind ?? '–') : <span class="badge bad">Not readable</span>}</td>
                    <td>{letter.booking_id ? <a data-row class="mono" href={pathOf('bookings', letter.booking_id)}>{shortId(letter.booking_id)}</a> : '–'}</td>
                    <td class="t2">{letter.event_id ?? '–'}</td>
                    <td class="t2 reason">{letter.reason}</td>
                    <td class="num actions-cell"><Button kind="small" onClick={() => (asks.value = letter)}>Replay…</Button></td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
        )}
      </main>
      {asks.value && (
        <Confirm
          title={`Replay ${asks.value.id}?`}
          effect={`The archive tries this entry${asks.value.kind ? ` (${asks.value.kind})` : ''} again. Where it is taken, it leaves this list; where not, it stays. Reason: ${asks.value.reason}`}
          verb="Replay entry"
          keep="Leave it here"
          busy={busy}
          error={failure && <Note message={failure} />}
          onConfirm={() => void replay()}
          onClose={() => (asks.value = null)}
        />
      )}
    </>
  );
}
