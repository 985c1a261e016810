import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { formatUtcDay, formatUtcTime } from '../base/format';
import { Button, CopyId } from '../base/ui';
import { admin } from './admin';
import { useAct, useLoad } from './load';
import { Bar, Note, Waits } from './parts';
import type { AuditAct } from './types';

/** What operators did, the newest first. */
export function Audit(): JSX.Element {
  const who = useSignal('');
  const input = useSignal('');
  const older = useSignal<AuditAct[]>([]);
  const cursor = useSignal<string | null | undefined>(undefined);
  const first = useLoad(() => admin.audit({ who: who.value }), [who.value]);
  const { busy, failure, act } = useAct();
  const acts = [...(first.data.value?.acts ?? []), ...older.value];
  const next = cursor.value === undefined ? first.data.value?.next_cursor : cursor.value;
  const more = () =>
    act(async () => {
      const { body } = await admin.audit({ who: who.value, cursor: next ?? undefined });
      older.value = [...older.value, ...body.acts];
      cursor.value = body.next_cursor;
    });
  const submit = (event: Event) => {
    event.preventDefault();
    older.value = [];
    cursor.value = undefined;
    if (who.value === input.value.trim()) void first.reload();
    else who.value = input.value.trim();
  };
  return (
    <>
      <Bar><h1>Audit</h1></Bar>
      <main class="body">
        <form class="row filters" onSubmit={submit}>
          <input class="input" aria-label="Operator" placeholder="Operator" value={input.value} onInput={(event) => (input.value = event.currentTarget.value)} />
          <Button type="submit">Show</Button>
        </form>
        <Waits of={first} />
        {first.data.value && !acts.length && <p class="card empty">{who.value ? `Nothing by ${who.value}.` : 'Nothing yet.'} Changes by operators appear here.</p>}
        {acts.length > 0 && (
          <section class="card table-card" tabIndex={0} aria-label="Audit">
            <table>
              <thead><tr><th>At (UTC)</th><th>Who</th><th>Act</th><th>Target</th><th>Detail</th><th>Result</th><th>Trace</th></tr></thead>
              <tbody>
                {acts.map((one) => (
                  <tr>
                    <td class="t2"><span class="mono">{formatUtcTime(one.at, false)}</span> <span class="t3 wide-only">{formatUtcDay(one.at)}</span></td>
                    <td><b>{one.who}</b></td>
                    <td class="mono">{one.act}</td>
                    <td>{one.target}</td>
                    <td class="t2 reason">{one.detail}</td>
                    <td><span class={`badge ${one.result === 'ok' ? 'ok' : 'bad'}`}>{one.result}</span></td>
                    <td>{one.trace_id ? <span class="row"><span class="mono">{one.trace_id.slice(0, 8)}</span><CopyId id={one.trace_id} label="Copy the trace" /></span> : '–'}</td>
                  </tr>
                ))}
              </tbody>
            </table>
            {next && <div class="row table-foot"><span class="grow">{failure && <Note message={failure} />}</span><Button kind="small" busy={busy} onClick={() => void more()}>More</Button></div>}
          </section>
        )}
      </main>
    </>
  );
}
