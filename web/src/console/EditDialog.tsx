import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { Problem } from '../api/http';
import type { EventBody } from '../api/types';
import { Button, Dialog } from '../base/ui';
import { messageOf, type Message } from '../base/words';
import { admin } from './admin';
import { Note } from './parts';
import { loadEvents, watch } from './state';

const TIMES = [
  { name: 'on_sale_at', label: 'On sale (UTC)' },
  { name: 'off_sale_at', label: 'Off sale (UTC)' },
  { name: 'starts_at', label: 'Starts (UTC)' },
  { name: 'cancel_until', label: 'Cancellation until (UTC)' },
] as const;

/** "2026-12-12T19:30" for an input, in UTC. */
const toInput = (iso: string | null) => (iso ? iso.slice(0, 16) : '');

/** Changes an event: only what was edited is sent. */
export function EditDialog({ event, onClose }: { event: EventBody; onClose: () => void }): JSX.Element {
  const before: Record<string, string> = {
    name: event.name,
    venue: event.venue,
    description: event.description,
    cancellation: event.cancellation,
    ...Object.fromEntries(TIMES.map(({ name }) => [name, toInput(event[name])])),
  };
  const values = useSignal(before);
  const busy = useSignal(false);
  const failure = useSignal<Message | null>(null);
  const field = useSignal('');
  const set = (name: string) => (input: { currentTarget: { value: string } }) => (values.value = { ...values.value, [name]: input.currentTarget.value });
  const changed = Object.keys(before).filter((name) => values.value[name] !== before[name]);
  const submit = async (submitted: Event) => {
    submitted.preventDefault();
    busy.value = true;
    failure.value = null;
    field.value = '';
    const times = new Set<string>(TIMES.map(({ name }) => name));
    const body = Object.fromEntries(changed.map((name) => [name, times.has(name) ? (values.value[name] ? `${values.value[name]}:00Z` : null) : values.value[name]]));
    try {
      const { body: next } = await admin.changeEvent(event.id, body as Partial<EventBody>);
      if (watch.value?.id === event.id) watch.value.event.value = next;
      await loadEvents();
      onClose();
    } catch (error) {
      failure.value = messageOf(error);
      if (error instanceof Problem) field.value = error.body.field ?? '';
    }
    busy.value = false;
  };
  const text = (name: string, label: string) => (
    <label class="field">
      <span>{label}</span>
      <input class="input" value={values.value[name]} aria-invalid={field.value === name} onInput={set(name)} />
    </label>
  );
  const time = ({ name, label }: { name: string; label: string }) => (
    <label class="field">
      <span>{label}</span>
      <input class="input" type="datetime-local" value={values.value[name]} aria-invalid={field.value === name} onInput={set(name)} />
    </label>
  );
  return (
    <Dialog title={`Edit ${event.name}`} onClose={onClose} wide>
      <form class="form" onSubmit={submit}>
        {text('name', 'Name')}
        {text('venue', 'Venue')}
        {text('description', 'Description')}
        <div class="pair">{TIMES.slice(0, 2).map(time)}</div>
        <div class="pair">{TIMES.slice(2).map(time)}</div>
        <label class="field">
          <span>Cancellation of sold bookings</span>
          <select class="input" value={values.value['cancellation']} onChange={set('cancellation')}>
            <option value="allowed">allowed</option>
            <option value="not_allowed">not allowed</option>
          </select>
        </label>
        <p class="t3 small">{changed.length ? `Changes: ${changed.join(', ')}. They count within a second on every server.` : 'Nothing is changed yet. Sections and prices of an event stay as they are.'}</p>
        {failure.value && <Note message={failure.value} />}
        <div class="actions">
          <Button onClick={onClose}>Back</Button>
          <Button kind="primary" type="submit" busy={busy.value} disabled={!changed.length}>Change the event</Button>
        </div>
      </form>
    </Dialog>
  );
}
