import { useComputed, useSignal, type Signal } from '@preact/signals';
import type { JSX } from 'preact';
import { Problem } from '../api/http';
import type { NewSection, Section } from '../api/types';
import { formatNumber, minorDigits, plural } from '../base/format';
import { Icon } from '../base/icons';
import { Button } from '../base/ui';
import { messageOf, type Message } from '../base/words';
import { House } from '../live/house';
import { SmallHouse } from '../map/MiniMap';
import { makePlan } from '../map/plan';
import { Scene } from '../map/scene';
import { admin } from './admin';
import { expand, parseLayout, seatsOf } from './layout';
import { Bar, Note } from './parts';
import { go, pathOf } from './router';
import { loadEvents } from './state';

interface Draft {
  name: string;
  price: string;
  kind: 'rows' | 'general';
  from: string;
  to: string;
  seats: string;
  capacity: string;
}

const FIRST: Draft[] = [
  { name: 'Stalls', price: '95', kind: 'rows', from: 'A', to: 'L', seats: '32', capacity: '' },
  { name: 'Circle', price: '65', kind: 'rows', from: 'A', to: 'H', seats: '40', capacity: '' },
];
const EMPTY: Draft = { name: '', price: '50', kind: 'rows', from: 'A', to: 'H', seats: '30', capacity: '200' };

/** A new event: from fields or a layout file, with its map as it will be. */
export function EventForm(): JSX.Element {
  const fields = useSignal<Record<string, string>>({ name: '', venue: '', currency: 'EUR', starts_at: '', on_sale_at: '', hold_ttl_seconds: '', max_seats_per_user: '', orphan_rule: 'off' });
  const drafts = useSignal<Draft[]>(FIRST);
  const layout = useSignal<LayoutFile | null>(null);
  const busy = useSignal(false);
  const failure = useSignal<Message | null>(null);
  const wrong = useSignal('');
  const digits = useComputed(() => minorDigits(fields.value['currency']!.trim().toUpperCase()));
  const plan = useComputed<{ sections: NewSection[]; error: string }>(() => {
    if (layout.value) return { sections: layout.value.sections, error: '' };
    try {
      return { sections: drafts.value.map((draft) => sectionOf(draft, digits.value)), error: '' };
    } catch (error) {
      return { sections: [], error: error instanceof Error ? error.message : String(error) };
    }
  });
  const total = plan.value.sections.reduce((sum, section) => sum + seatsOf(section), 0);
  const set = (name: string, value: string) => (fields.value = { ...fields.value, [name]: value });
  const submit = async (event: Event) => {
    event.preventDefault();
    busy.value = true;
    failure.value = null;
    wrong.value = '';
    try {
      const { body } = await admin.createEvent(bodyOf(fields.value, plan.value.sections));
      await loadEvents();
      go(pathOf('live', body.id));
    } catch (error) {
      failure.value = messageOf(error);
      if (error instanceof Problem) wrong.value = error.body.field ?? '';
    }
    busy.value = false;
  };
  return (
    <>
      <Bar>
        <a href="/console/events">Events</a>
        <span class="t3"><Icon name="right" size={12} /></span>
        <h1>New event</h1>
      </Bar>
      <main class="body">
        <form class="columns wide-right event-form" onSubmit={submit}>
          <div class="stack">
            <Fields values={fields.value} wrong={wrong.value} onSet={set} />
            <SectionsCard drafts={drafts} layout={layout} error={plan.value.error} />
          </div>
          <section class="card preview">
            <div class="row head"><h2 class="grow">Map</h2><b>{plural(total, 'seat')}</b></div>
            <Preview sections={plan.value.sections} currency={fields.value['currency']!} />
            {failure.value && <Note message={failure.value} />}
            <div class="row">
              <p class="t3 small grow">The map is how buyers see it. Sections and prices cannot be changed later.</p>
              <Button kind="primary" type="submit" busy={busy.value} disabled={!fields.value['name']!.trim() || !total}>Create the event</Button>
            </div>
          </section>
        </form>
      </main>
    </>
  );
}

/** What an event is beside its sections. */
function Fields({ values, wrong, onSet }: { values: Record<string, string>; wrong: string; onSet: (name: string, value: string) => void }): JSX.Element {
  const input = (name: string, label: string, extra: Record<string, string> = {}) => (
    <label class="field">
      <span>{label}</span>
      <input class="input" value={values[name]} aria-invalid={wrong === name} onInput={(event) => onSet(name, event.currentTarget.value)} {...extra} />
    </label>
  );
  return (
    <section class="card form">
      <h2>Event</h2>
      {input('name', 'Name', { required: 'true', maxLength: '200' })}
      {input('venue', 'Venue')}
      <div class="pair">{input('starts_at', 'Starts (UTC)', { type: 'datetime-local' })}{input('on_sale_at', 'On sale (UTC); empty: at once', { type: 'datetime-local' })}</div>
      <div class="pair">{input('currency', 'Currency (ISO 4217)', { maxLength: '3' })}{input('max_seats_per_user', 'Seats for one buyer', { inputMode: 'numeric', placeholder: '10' })}</div>
      <div class="pair">
        {input('hold_ttl_seconds', 'Hold, seconds', { inputMode: 'numeric', placeholder: '300' })}
        <label class="field">
          <span>A single seat left alone</span>
          <select class="input" value={values['orphan_rule']} onChange={(event) => onSet('orphan_rule', event.currentTarget.value)}>
            <option value="off">is allowed</option>
            <option value="warn">is named to the buyer</option>
            <option value="enforce">is refused</option>
          </select>
        </label>
      </div>
    </section>
  );
}

interface LayoutFile {
  name: string;
  sections: NewSection[];
}

/** Sections by fields, or from a layout file. */
function SectionsCard({ drafts, layout, error }: { drafts: Signal<Draft[]>; layout: Signal<LayoutFile | null>; error: string }): JSX.Element {
  const trouble = useSignal('');
  const readFile = async (file: File | undefined) => {
    trouble.value = '';
    if (!file) return;
    try {
      layout.value = { name: file.name, sections: parseLayout(await file.text()) };
    } catch (error) {
      trouble.value = error instanceof Error ? error.message : String(error);
    }
  };
  return (
    <section class="card form">
      <div class="row">
        <h2 class="grow">Sections</h2>
        <label class="btn small file">
          Layout file (JSON)…
          <input type="file" accept=".json,application/json" class="sr" onChange={(event) => void readFile(event.currentTarget.files?.[0])} />
        </label>
      </div>
      {trouble.value && <p class="error" role="alert">{trouble.value}</p>}
      {layout.value ? (
        <div class="row note">
          <span class="grow">{layout.value.name}: {plural(layout.value.sections.length, 'section')}</span>
          <Button kind="small" onClick={() => (layout.value = null)}>Use fields instead</Button>
        </div>
      ) : (
        <Drafts drafts={drafts.value} onChange={(next) => (drafts.value = next)} />
      )}
      {error && <p class="error" role="alert">{error}</p>}
    </section>
  );
}

function sectionOf(draft: Draft, digits: number): NewSection {
  const price = Math.round(Number(draft.price.replace(',', '.')) * 10 ** digits);
  if (!draft.name.trim()) throw new Error('A section needs a name');
  if (!draft.price.trim()) throw new Error(`${draft.name}: the price is missing; 0 is for free seats`);
  if (!Number.isFinite(price)) throw new Error(`${draft.name}: ${draft.price} is not a price`);
  if (draft.kind === 'general') {
    const capacity = Number(draft.capacity);
    if (!Number.isInteger(capacity) || capacity < 1) throw new Error(`${draft.name}: places must be a whole number from 1`);
    return { name: draft.name.trim(), price, capacity };
  }
  return { name: draft.name.trim(), price, rows: expand({ from: draft.from.trim().toUpperCase() || 'A', to: draft.to.trim().toUpperCase(), seats: Number(draft.seats) }, draft.name) };
}

function bodyOf(fields: Record<string, string>, sections: NewSection[]): Record<string, unknown> {
  const body: Record<string, unknown> = { name: fields['name']!.trim(), currency: fields['currency']!.trim().toUpperCase(), orphan_rule: fields['orphan_rule'], sections };
  if (fields['venue']!.trim()) body['venue'] = fields['venue']!.trim();
  for (const name of ['starts_at', 'on_sale_at']) if (fields[name]) body[name] = `${fields[name]}:00Z`;
  for (const name of ['hold_ttl_seconds', 'max_seats_per_user']) if (fields[name]?.trim()) body[name] = Number(fields[name]);
  return body;
}

function Drafts({ drafts, onChange }: { drafts: Draft[]; onChange: (drafts: Draft[]) => void }): JSX.Element {
  const edit = (index: number, change: Partial<Draft>) => onChange(drafts.map((draft, i) => (i === index ? { ...draft, ...change } : draft)));
  const cell = (index: number, name: keyof Draft, label: string) => (
    <label class="field">
      <span>{label}</span>
      <input class="input" value={drafts[index]![name]} onInput={(event) => edit(index, { [name]: event.currentTarget.value })} />
    </label>
  );
  return (
    <>
      {drafts.map((draft, index) => (
        <div class="draft" role="group" aria-label={`Section ${index + 1}`}>
          {cell(index, 'name', 'Section')}
          {cell(index, 'price', 'Price')}
          <label class="field">
            <span>Kind</span>
            <select class="input" value={draft.kind} onChange={(event) => edit(index, { kind: event.currentTarget.value as Draft['kind'] })}>
              <option value="rows">Rows</option>
              <option value="general">General admission</option>
            </select>
          </label>
          {draft.kind === 'rows' ? (
            <>
              {cell(index, 'from', 'From row')}
              {cell(index, 'to', 'To row')}
              {cell(index, 'seats', 'Seats a row')}
            </>
          ) : (
            cell(index, 'capacity', 'Places')
          )}
          <button type="button" class="btn plain icon small" aria-label={`Remove ${draft.name || 'section'}`} disabled={drafts.length === 1} onClick={() => onChange(drafts.filter((_, i) => i !== index))}>
            <Icon name="close" size={14} />
          </button>
        </div>
      ))}
      <Button kind="small" icon="plus" onClick={() => onChange([...drafts, { ...EMPTY }])}>Section</Button>
    </>
  );
}

function Preview({ sections, currency }: { sections: NewSection[]; currency: string }): JSX.Element {
  const total = sections.reduce((sum, section) => sum + seatsOf(section), 0);
  if (!total || total > 200_000) return <p class="empty">{total ? `${formatNumber(total)} seats: too many to draw here.` : 'Nothing to show yet.'}</p>;
  let first = 1;
  const placed: Section[] = sections.map((section) => {
    const count = seatsOf(section);
    const one: Section = { name: section.name, price: section.price, first_seat_id: first, total_seats: count, general_admission: !section.rows, ...(section.rows ? { rows: section.rows.map(({ row, seats }) => ({ name: row, seats })) } : {}) };
    first += count;
    return one;
  });
  const scene = new Scene(new House(placed, total), makePlan(placed, total, new Uint8Array(total + 1)), currency.length === 3 ? currency.toUpperCase() : 'EUR');
  return <SmallHouse scene={scene} width={560} height={430} label={`Map of ${formatNumber(total)} seats`} />;
}
