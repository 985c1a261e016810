import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { formatNumber, plural } from '../base/format';
import { Icon } from '../base/icons';
import { Button, Confirm, CopyId } from '../base/ui';
import { operator } from './admin';
import { BUYERS, Crowd, crowd } from './crowd';
import { Note } from './parts';
import { go, pathOf } from './router';
import { loadEvents, watchEvent } from './state';

const COMMAND = 'make demo';

/** In development: a sale to watch, without buyers. */
export function CrowdCard(): JSX.Element | null {
  const asks = useSignal(false);
  if (!operator.value?.is_development) return null;
  const isRunning = crowd.value !== null && crowd.value.state.value !== 'done';
  const release = () => {
    asks.value = false;
    const released = new Crowd();
    crowd.value = released;
    const stop = released.event.subscribe((event) => {
      if (!event) return;
      void loadEvents();
      watchEvent(event.id);
      go(pathOf('live', event.id));
      queueMicrotask(() => stop());
    });
    void released.run();
  };
  return (
    <section class="card row demo">
      <Icon name="people" />
      <p class="grow"><b>A sale to watch</b> <span class="t2">A simulated crowd buys a new event in about a minute. A larger one comes by this command:</span></p>
      <code class="mono">{COMMAND}</code>
      <CopyId id={COMMAND} label={`Copy ${COMMAND}`} />
      <Button icon="play" disabled={isRunning} onClick={() => (asks.value = true)}>Release a crowd</Button>
      {asks.value && (
        <Confirm
          title={`Release ${formatNumber(BUYERS)} simulated buyers?`}
          effect="A new event opens with a waiting room. For a minute or two they join, hold, pay and give up from this page, which stays open. No money moves. Other events are left alone."
          verb="Release the crowd"
          keep="Not now"
          onConfirm={release}
          onClose={() => (asks.value = false)}
        />
      )}
    </section>
  );
}

const STATES = { opening: 'The event is being made', selling: 'The crowd is buying', checking: 'Verifying', done: 'The crowd has gone home' };

/** How the released crowd fares, above the pages of the console. */
export function CrowdBar(): JSX.Element | null {
  const current = crowd.value;
  if (!current) return null;
  const state = current.state.value;
  const tally = current.tally.value;
  const verdict = current.verdict.value;
  return (
    <section class="crowd-bar" aria-label="Simulated crowd">
      <div class="row">
        <b>{STATES[state]}</b>
        <span class="t2 grow cut">
          {formatNumber(tally.gone)} of {plural(BUYERS, 'buyer')} done · {formatNumber(tally.held)} held · {formatNumber(tally.paid)} paid · {formatNumber(tally.refused)} refused · {formatNumber(tally.declined)} declined · {formatNumber(tally.givenUp)} given up{tally.failed ? ` · ${formatNumber(tally.failed)} failed` : ''}
        </span>
        {verdict && <span class={`badge ${verdict.is_clean ? 'ok' : 'bad'}`}><Icon name={verdict.is_clean ? 'check' : 'warn'} size={12} />{verdict.is_clean ? 'Verified: clean' : 'Verified: problems'}</span>}
        {state === 'selling' && <Button kind="small" onClick={() => current.stop()}>Stop</Button>}
        {state === 'done' && <Button kind="small" onClick={() => (crowd.value = null)}>Close</Button>}
      </div>
      <div class="meter"><i class="fill free" style={{ width: `${(100 * tally.gone) / BUYERS}%` }} /></div>
      {current.failure.value && <Note message={current.failure.value} />}
    </section>
  );
}
