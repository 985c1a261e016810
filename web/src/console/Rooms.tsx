import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { formatDuration, formatNumber } from '../base/format';
import { Button } from '../base/ui';
import { admin } from './admin';
import { useLoad } from './load';
import { Bar, Waits } from './parts';
import { RoomBadge, RoomDialog } from './RoomCard';
import { pathOf } from './router';
import type { NamedRoom } from './types';

const REFRESH_MS = 5000;

/** All waiting rooms that are on, or turn on by themselves. */
export function Rooms(): JSX.Element {
  const rooms = useLoad(admin.rooms, [], REFRESH_MS);
  const changes = useSignal<NamedRoom | null>(null);
  const list = rooms.data.value?.rooms;
  return (
    <>
      <Bar><h1>Waiting rooms</h1></Bar>
      <main class="body">
        <Waits of={rooms} />
        {list?.length === 0 && <p class="card empty">No waiting room is on. Turn one on beside an event’s live map.</p>}
        {list && list.length > 0 && (
          <section class="card table-card" tabIndex={0} aria-label="Waiting rooms">
            <table>
              <thead><tr><th>Event</th><th>Room</th><th class="num">In line</th><th class="num">Let in</th><th>Sessions</th><th>Time to choose</th><th>Order</th><th class="num">A minute</th><th><span class="sr">Actions</span></th></tr></thead>
              <tbody>
                {list.map(({ event_id, event_name, waiting_room: room }) => (
                  <tr key={event_id}>
                    <td class="cut"><a data-row href={pathOf('live', event_id)}><b>{event_name}</b></a></td>
                    <td><RoomBadge status={room.status} /></td>
                    <td class="num"><b>{formatNumber(room.waiting)}</b></td>
                    <td class="num">{formatNumber(room.admitted)}</td>
                    <td class="left-cell">
                      <span class="meter"><i class="fill free" style={{ width: room.max_concurrent_users ? `${Math.min(100, (100 * room.sessions) / room.max_concurrent_users)}%` : '0' }} /></span>
                      <span class="t3 small">{formatNumber(room.sessions)} of {formatNumber(room.max_concurrent_users)}</span>
                    </td>
                    <td class="t2">{formatDuration(room.session_duration_seconds)}</td>
                    <td class="t2">{room.method === 'random' ? 'by lot' : 'first come'}</td>
                    <td class="num t2">{room.per_minute ? formatNumber(room.per_minute) : 'as places come free'}</td>
                    <td class="num actions-cell"><Button kind="small" onClick={() => (changes.value = { event_id, event_name, waiting_room: room })}>Change</Button></td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
        )}
      </main>
      {changes.value && (
        <RoomDialog
          id={changes.value.event_id}
          name={changes.value.event_name}
          canDraw={false}
          room={changes.value.waiting_room}
          onClose={() => {
            changes.value = null;
            void rooms.reload();
          }}
        />
      )}
    </>
  );
}
