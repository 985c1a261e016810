import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import type { RoomSettings } from '../api/types';
import { formatNumber } from '../base/format';
import { Button, Dialog } from '../base/ui';
import { admin } from './admin';
import { Sparkline } from './charts';
import { useAct } from './load';
import { loadOverview, overview, trend } from './overview';
import { Note } from './parts';
import type { RoomFigures } from './types';
import type { Watch } from './watch';

export const ROOM_WORDS: Record<RoomFigures['status'], [string, string]> = { off: ['', 'Off'], on: ['warn', 'On'], surge: ['warn', 'On by surge'], draw: ['action', 'Gathering for the draw'] };

export function RoomBadge({ status }: { status: RoomFigures['status'] }): JSX.Element {
  const [tone, text] = ROOM_WORDS[status];
  return <span class={`badge ${tone}`}>{text}</span>;
}

/** The watched event's waiting room. */
export function RoomCard({ watch: current }: { watch: Watch }): JSX.Element {
  const changes = useSignal(false);
  const state = overview.value;
  const room = state?.event?.id === current.id ? state.waiting_room : null;
  const isOn = room !== null && room.status !== 'off';
  return (
    <section class="card room">
      <div class="row head">
        <h2>Waiting room</h2>
        {room ? <RoomBadge status={room.status} /> : <span class="badge">–</span>}
        <span class="grow" />
        <Button kind="plain small" onClick={() => (changes.value = true)}>Change</Button>
      </div>
      {isOn ? (
        <>
          <div class="row figures">
            <div class="grow">
              <b class="figure">{formatNumber(room.waiting)}</b>
              <p class="t3">in line, {formatNumber(room.admitted)} let in</p>
            </div>
            <div class="room-spark"><Sparkline values={trend.value.waiting} tone="warn" /></div>
          </div>
          <Sessions room={room} />
        </>
      ) : (
        <p class="t3 off">{room ? `Buyers go straight to the map.${room.is_automatic ? ' It turns on by itself in a surge.' : ''}` : 'Not known.'}</p>
      )}
      {changes.value && <RoomDialog id={current.id} name={current.event.value!.name} canDraw={current.event.value!.status === 'SCHEDULED'} room={room} onClose={() => (changes.value = false)} />}
    </section>
  );
}

export function Sessions({ room }: { room: RoomFigures }): JSX.Element {
  const share = room.max_concurrent_users ? Math.min(100, (100 * room.sessions) / room.max_concurrent_users) : 0;
  return (
    <div class="sessions">
      <div class="row"><span class="grow t2">Sessions</span><span><b>{formatNumber(room.sessions)}</b> <span class="t3">of {formatNumber(room.max_concurrent_users)}</span></span></div>
      <div class="meter thick"><i class="fill free" style={{ width: `${share}%` }} /></div>
    </div>
  );
}

const FIELDS: { name: keyof RoomSettings; label: string; hint: string; value: (room: RoomFigures | null) => number | undefined }[] = [
  { name: 'max_concurrent', label: 'People inside at a time', hint: '', value: (room) => room?.max_concurrent_users || 100 },
  { name: 'session_duration', label: 'Time to choose, seconds', hint: '', value: (room) => room?.session_duration_seconds || 300 },
  { name: 'per_minute', label: 'Let in a minute', hint: '0: as places come free', value: (room) => room?.per_minute ?? undefined },
  { name: 'claim_window', label: 'Time to take one’s turn, seconds', hint: '', value: () => undefined },
];

/** Changes a waiting room; says what that does to the people in line. */
export function RoomDialog({ id, name, canDraw, room, onClose }: { id: number; name: string; canDraw: boolean; room: RoomFigures | null; onClose: () => void }): JSX.Element {
  const isOn = room !== null && room.status !== 'off';
  const values = useSignal<Record<string, string>>(Object.fromEntries(FIELDS.map((field) => [field.name, String(field.value(room) ?? '')])));
  const shuffle = useSignal(false);
  const { busy, failure, act } = useAct();
  const change = (on: boolean) =>
    act(async () => {
      const settings: Record<string, unknown> = shuffle.value ? { shuffle: true } : {};
      for (const field of FIELDS) if (values.value[field.name]?.trim()) settings[field.name] = Number(values.value[field.name]);
      if (on) await admin.roomOn(id, settings as RoomSettings);
      else await admin.roomOff(id);
      await loadOverview();
      onClose();
    });
  return (
    <Dialog title={`Waiting room of ${name}`} onClose={onClose}>
      <form
        class="form"
        onSubmit={(submit) => {
          submit.preventDefault();
          void change(true);
        }}
      >
        {FIELDS.map(({ name, label, hint }) => (
          <label class="field">
            <span>{label}{hint && ` (${hint})`}</span>
            <input class="input" inputMode="numeric" pattern="[0-9]*" value={values.value[name]} onInput={(input) => (values.value = { ...values.value, [name]: input.currentTarget.value })} />
          </label>
        ))}
        {canDraw && (
          <label class="check"><input type="checkbox" checked={shuffle.value} onChange={(change) => (shuffle.value = change.currentTarget.checked)} /> Draw places by lot when the sale begins</label>
        )}
        <p class="t3 small">{isOn ? `Turned off, ${room.waiting === 1 ? 'the one in line goes' : `all ${formatNumber(room.waiting)} in line go`} straight to the map.` : 'Turned on, buyers without a session join the line before they can hold seats.'} Empty fields keep the server’s values. It counts everywhere within a second.</p>
        {failure && <Note message={failure} />}
        <div class="actions">
          <Button onClick={onClose}>Back</Button>
          {isOn && <Button kind="danger" busy={busy} onClick={() => void change(false)}>Turn off</Button>}
          <Button kind="primary" type="submit" busy={busy}>{isOn ? 'Change it' : 'Turn on'}</Button>
        </div>
      </form>
    </Dialog>
  );
}
