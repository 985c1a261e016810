import { useSignal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { formatAge, formatMoney, formatUtcTime, plural, shortId } from '../base/format';
import { Icon } from '../base/icons';
import { Button, Confirm } from '../base/ui';
import { admin } from './admin';
import { useAct } from './load';
import { Note } from './parts';
import { pathOf } from './router';
import type { ReconcileVerdict, Verdict, VerifyVerdict } from './types';

const PROBLEMS_MAX = 20;

/** The proofs of the whole, run from here. */
export function Checks({ event }: { event: number }): JSX.Element {
  return (
    <section class="card checks">
      <div class="row head"><h2 class="grow">Checks</h2></div>
      <Verify event={event} />
      <Reconcile event={event} />
    </section>
  );
}

function Check(props: { name: string; text: string; busy: boolean; onRun: () => void; verdict: Verdict | null; at: string; children: ComponentChildren }): JSX.Element {
  const { verdict } = props;
  return (
    <div class="check-row">
      <div class="row">
        <div class="grow">
          <b>{props.name}</b>
          <p class="t3 small">{props.text}</p>
        </div>
        {verdict && <span class={`badge ${verdict.is_clean ? 'ok' : 'bad'}`}><Icon name={verdict.is_clean ? 'check' : 'warn'} size={12} />{verdict.is_clean ? 'Clean' : 'Problems'}</span>}
        <Button kind="small" busy={props.busy} onClick={props.onRun}>{props.busy ? 'Running' : verdict ? 'Run again' : 'Run'}</Button>
      </div>
      <div role="status">{verdict && <p class="t3 small">At {props.at} UTC, in {formatAge(verdict.took_ms)}</p>}{props.children}</div>
    </div>
  );
}

function Verify({ event }: { event: number }): JSX.Element {
  const verdict = useSignal<VerifyVerdict | null>(null);
  const at = useSignal('');
  const { busy, failure, act } = useAct();
  const run = () =>
    act(async () => {
      verdict.value = (await admin.verify(event)).body;
      at.value = formatUtcTime(new Date().toISOString(), false);
    });
  const result = verdict.value;
  const problems = result ? [...result.problems, ...result.partitions.flatMap((one) => one.problems), ...result.events.flatMap((one) => one.problems)] : [];
  const one = result?.events.find((each) => each.event_id === event);
  return (
    <Check name="Verify" text="Redis, the booking log and the archive agree" busy={busy} onRun={() => void run()} verdict={result} at={at.value}>
      {failure && <Note message={failure} />}
      {one && <p class="t2 small">{plural(one.bookings_in_archive, 'booking')} in the archive, {plural(one.bookings_in_redis, 'booking')} in Redis{one.undecided ? `, ${plural(one.undecided, 'booking')} undecided` : ''}</p>}
      <Problems list={problems} />
    </Check>
  );
}

function Reconcile({ event }: { event: number }): JSX.Element {
  const verdict = useSignal<ReconcileVerdict | null>(null);
  const at = useSignal('');
  const asks = useSignal(false);
  const { busy, failure, act } = useAct();
  const run = (fix: boolean) =>
    act(async () => {
      verdict.value = (await admin.reconcile(event, fix)).body;
      at.value = formatUtcTime(new Date().toISOString(), false);
      asks.value = false;
    });
  const result = verdict.value;
  return (
    <Check name="Reconcile" text="Redis, the archive and the payment provider agree about every payment" busy={busy && !asks.value} onRun={() => void run(false)} verdict={result} at={at.value}>
      {failure && !asks.value && <Note message={failure} />}
      {result?.totals.map((total) => (
        <p class="t2 small">{plural(result.payments, 'payment')}: sold {formatMoney(total.sold, total.currency)}, charged {formatMoney(total.charged, total.currency)}, refunded {formatMoney(total.refunded, total.currency)}{total.refund_pending ? `, ${formatMoney(total.refund_pending, total.currency)} on its way back` : ''}</p>
      ))}
      {result && result.fixed.length > 0 && <Problems list={result.fixed.map((one) => `${shortId(one.booking_id)}: ${one.result}`)} />}
      {result && result.differences.length > 0 && (
        <>
          <ul class="differences">
            {result.differences.slice(0, PROBLEMS_MAX).map((one) => <li><a class="mono" href={pathOf('bookings', one.booking_id)}>{shortId(one.booking_id)}</a> {one.problem}</li>)}
          </ul>
          <Button kind="small danger" onClick={() => (asks.value = true)}>Settle {plural(result.differences.length, 'difference')}…</Button>
        </>
      )}
      {asks.value && (
        <Confirm
          danger
          title={`Settle ${plural(result?.differences.length ?? 0, 'difference')}?`}
          effect="Each payment takes its next safe step: a charge without its sale is given back, a sale that was paid is confirmed. Nothing is charged. It is written to the audit log."
          verb="Settle"
          keep="Leave them"
          busy={busy}
          error={failure && <Note message={failure} />}
          onConfirm={() => void run(true)}
          onClose={() => (asks.value = false)}
        />
      )}
    </Check>
  );
}

function Problems({ list }: { list: string[] }): JSX.Element | null {
  if (!list.length) return null;
  return (
    <ul class="differences">
      {list.slice(0, PROBLEMS_MAX).map((one) => <li>{one}</li>)}
      {list.length > PROBLEMS_MAX && <li class="t3">and {list.length - PROBLEMS_MAX} more</li>}
    </ul>
  );
}
