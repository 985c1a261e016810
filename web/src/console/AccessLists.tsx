import type { JSX } from 'preact';
import { formatUtc } from '../base/format';
import { admin } from './admin';
import { useLoad } from './load';
import { Bar, Waits } from './parts';

/** Who is always let in, and who never. */
export function AccessLists(): JSX.Element {
  const lists = useLoad(admin.accessLists, [], 10_000);
  const rows = lists.data.value?.entries;
  return (
    <>
      <Bar><h1>Access lists</h1></Bar>
      <main class="body">
        <Waits of={lists} />
        {rows?.length === 0 && <p class="card empty">Nobody is on a list.</p>}
        {rows && rows.length > 0 && (
          <section class="card table-card" tabIndex={0} aria-label="Access lists">
            <table>
              <thead><tr><th>Access</th><th>Subject</th><th>Reason</th><th>By</th><th>Since (UTC)</th><th>Until (UTC)</th></tr></thead>
              <tbody>
                {rows.map((entry) => (
                  <tr>
                    <td><span class={`badge ${entry.access === 'deny' ? 'bad' : 'ok'}`}>{entry.access === 'deny' ? 'Denied' : 'Allowed'}</span></td>
                    <td class="mono">{entry.subject}</td>
                    <td class="t2 cut">{entry.reason}</td>
                    <td class="t2">{entry.by}</td>
                    <td class="t2">{formatUtc(entry.at)}</td>
                    <td class="t2">{entry.until ? formatUtc(entry.until) : 'for good'}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
        )}
        <p class="t3 small">They are changed by <span class="mono">holdfastctl access</span>.</p>
      </main>
    </>
  );
}
