import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import type { RoomSettings } from '../api/types';
import { formatNumber } from '../base/format';
import { Button, Dialog } from '../base/ui';
import { messageOf, type Message } from '../base/words';
import { admin } from './admin';
import { Sparkline } from './charts';
import { Note } from './parts';
import type { Watch } from './watch';

export function RoomCard({ watch: current }: { watch: Watch }): JSX.Element {
  const changes = useSignal(false);
  const room = current.room.value;
  const share = room?.max_concurrent ? Math.min(100, (100 * room.active_sessions) / room.max_concurrent) : 0;
  return (
    <section class="card room">
      <div class="row head">
        <h2>Waiting room</h2>
        {room?.enabled ? <span class="badge warn">{room.by_surge ? 'On by surge' : 'On'}</span> : <span class="badge">{room ? 'Off' : '–'}</span>}
        <span class="grow" />
        <Button kind="plain small" onClick={() => (changes.value = true)}>Change</Button>
      </div>
      {room?.enabled ? (
        <>
          <div class="row figures">
            <div class="grow">
              <b class="figure">{formatNumber(room.queue_size)}</b>
              <p class="t3">in line, {formatNumber(room.served)} let in</p>
            </div>
            <div class="room-spark"><Sparkline values={current.series.value.map((point) => point.queue)} tone="warn" /></div>
          </div>
          <div class="row"><span class="grow t2">Sessions</span><span><b>{formatNumber(room.active_sessions)}</b> <span class="t3">of {formatNumber(room.max_concurrent)}</span></span></div>
          <div class="meter thick"><i class="fill free" style={{ width: `${share}%` }} /></div>
        </>
      ) : (
        <p class="t3 off">{room ? 'Buyers go straight to the map.' : 'Not known.'}</p>
      )}
      {changes.value && <RoomDialog watch={current} onClose={() => (changes.value = false)} />}
    </section>
  );
}

const FIELDS: { name: keyof RoomSettings; label: string; hint: string; value: string }[] = [
  { name: 'max_concurrent', label: 'People inside at a time', hint: '', value: '100' },
  { name: 'session_duration', label: 'Time to choose, seconds', hint: '', value: '300' },
  { name: 'per_minute', label: 'Let in a minute', hint: '0: as places come free', value: '' },
  { name: 'claim_window', label: 'Time to take one’s turn, seconds', hint: '', value: '' },
];

function RoomDialog({ watch: current, onClose }: { watch: Watch; onClose: () => void }): JSX.Element {
  const room = current.room.value;
  const values = useSignal<Record<string, string>>(Object.fromEntries(FIELDS.map(({ name, value }) => [name, name === 'max_concurrent' && room?.max_concurrent ? String(room.max_concurrent) : value])));
  const shuffle = useSignal(false);
  const busy = useSignal(false);
  const failure = useSignal<Message | null>(null);
  const event = current.event.value!;
  const act = async (on: boolean) => {
    busy.value = true;
    failure.value = null;
    try {
      const settings: Record<string, unknown> = shuffle.value ? { shuffle: true } : {};
      for (const { name } of FIELDS) if (values.value[name]?.trim()) settings[name] = Number(values.value[name]);
      if (on) await admin.roomOn(current.id, settings as RoomSettings);
      else await admin.roomOff(current.id);
      await current.refresh();
      onClose();
    } catch (error) {
      failure.value = messageOf(error);
    }
    busy.value = false;
  };
  return (
    <Dialog title={`Waiting room of ${event.name}`} onClose={onClose}>
      <form
        class="form"
        onSubmit={(submit) => {
          submit.preventDefault();
          void act(true);
        }}
      >
        {FIELDS.map(({ name, label, hint }) => (
          <label class="field">
            <span>{label}{hint && ` (${hint})`}</span>
            <input class="input" inputMode="numeric" pattern="[0-9]*" value={values.value[name]} onInput={(input) => (values.value = { ...values.value, [name]: input.currentTarget.value })} />
          </label>
        ))}
        {event.status === 'SCHEDULED' && (
          <label class="check"><input type="checkbox" checked={shuffle.value} onChange={(change) => (shuffle.value = change.currentTarget.checked)} /> Draw places by lot when the sale begins</label>
        )}
        <p class="t3 small">{room?.enabled ? 'Turned off, everybody in line goes straight to the map.' : 'Turned on, buyers without a session join the line before they can hold seats.'} Empty fields keep the server’s values. It counts everywhere within a second.</p>
        {failure.value && <Note message={failure.value} />}
        <div class="actions">
          <Button onClick={onClose}>Back</Button>
          {room?.enabled && <Button kind="danger" busy={busy.value} onClick={() => void act(false)}>Turn off</Button>}
          <Button kind="primary" type="submit" busy={busy.value}>{room?.enabled ? 'Change it' : 'Turn on'}</Button>
        </div>
      </form>
    </Dialog>
  );
}
