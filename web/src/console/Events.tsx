import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import type { EventBody } from '../api/types';
import { formatNumber, formatUtc } from '../base/format';
import { Button } from '../base/ui';
import { CrowdCard } from './CrowdCard';
import { EditDialog } from './EditDialog';
import { EventForm } from './EventForm';
import { Bar, EventBadge, Note } from './parts';
import { pathOf, route } from './router';
import { events, eventsFailure } from './state';

/** All events, and the form for a new one. */
export function Events(): JSX.Element {
  const edits = useSignal<EventBody | null>(null);
  const list = events.value;
  if (route.value.id === 'new') return <EventForm />;
  return (
    <>
      <Bar actions={<a class="btn primary small-primary" href={pathOf('events', 'new')}>New event</a>}><h1>Events</h1></Bar>
      <main class="body">
        {eventsFailure.value && <Note message={eventsFailure.value} />}
        {!list && !eventsFailure.value && <div class="skeleton tall" aria-busy="true" />}
        <CrowdCard />
        {list?.length === 0 && <p class="card empty">No events yet.</p>}
        {list && list.length > 0 && (
          <section class="card table-card" tabIndex={0} aria-label="Events">
            <table>
              <thead>
                <tr><th class="num">Id</th><th>Event</th><th>Status</th><th>Seats</th><th>On sale (UTC)</th><th>Starts (UTC)</th><th><span class="sr">Actions</span></th></tr>
              </thead>
              <tbody>
                {list.map((event) => {
                  const free = event.available_seats;
                  return (
                    <tr key={event.id}>
                      <td class="num t3">{event.id}</td>
                      <td class="cut"><a data-row href={pathOf('live', event.id)}><b>{event.name}</b></a> <span class="t3">{event.venue}</span></td>
                      <td><EventBadge status={event.status} /></td>
                      <td class="left-cell">
                        <span class="meter"><i class="fill free" style={{ width: free == null ? '0' : `${(100 * free) / event.total_seats}%` }} /></span>
                        <span class="t3 small">{formatNumber(free)} of {formatNumber(event.total_seats)} free</span>
                      </td>
                      <td class="t2">{event.on_sale_at ? formatUtc(event.on_sale_at) : 'at once'}</td>
                      <td class="t2">{formatUtc(event.starts_at)}</td>
                      <td class="num actions-cell">
                        <a class="btn small" href={`/events/${event.id}`} target="_blank" rel="noreferrer">Buyer’s page</a>
                        <Button kind="small" onClick={() => (edits.value = event)}>Edit</Button>
                      </td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </section>
        )}
      </main>
      {edits.value && <EditDialog event={edits.value} onClose={() => (edits.value = null)} />}
    </>
  );
}
