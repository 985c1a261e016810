import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { formatNumber, formatUtc } from '../base/format';
import { Confirm } from '../base/ui';
import { admin } from './admin';
import { useAct, useLoad } from './load';
import { Bar, Note, Waits } from './parts';
import type { LimitRule, Limits as Body } from './types';

const MODE_WORDS: Record<string, string> = { each: 'As each rule says', enforce: 'Enforce', observe: 'Observe', off: 'Off', settings: 'As in the settings' };
/** What a mode does to requests over a limit. */
const MODE_EFFECTS: Record<string, string> = {
  each: 'Each rule counts in its own mode again.',
  enforce: 'Requests over a limit are refused with 429.',
  observe: 'Requests over a limit are let through and only counted.',
  off: 'Nothing is counted and nothing is refused.',
  settings: 'The settings of the server count again.',
};

interface Change {
  rule?: string;
  mode: string;
}

/** What limits requests; one rule or all of them can be told to observe only. */
export function Limits(): JSX.Element {
  const limits = useLoad(admin.limits, [], 10_000);
  const asks = useSignal<Change | null>(null);
  const { busy, failure, act } = useAct();
  const body = limits.data.value;
  const change = () =>
    act(async () => {
      limits.data.value = (await admin.changeLimits(asks.value!)).body;
      asks.value = null;
    });
  const subject = asks.value?.rule ? `the limit “${asks.value.rule}”` : 'all limits';
  return (
    <>
      <Bar><h1>Limits</h1></Bar>
      <main class="body">
        <Waits of={limits} />
        {body && <Whole body={body} onChange={(mode) => (asks.value = { mode })} />}
        {body && (
          <section class="card table-card" tabIndex={0} aria-label="Rules">
            <table>
              <thead><tr><th>Rule</th><th>Of each</th><th>Routes</th><th class="num">Limit</th><th>Counted in</th><th>Mode</th></tr></thead>
              <tbody>{body.rules.map((rule) => <Rule rule={rule} key={rule.name} isOwn={body.mode.value === 'each'} onChange={(mode) => (asks.value = { rule: rule.name, mode })} />)}</tbody>
            </table>
          </section>
        )}
        {body && body.mode.value !== 'each' && <p class="t3 small">One mode counts for all rules. Each has its own again with “{MODE_WORDS['each']}”.</p>}
      </main>
      {asks.value && (
        <Confirm
          title={`${MODE_WORDS[asks.value.mode]}: ${subject}?`}
          effect={`${MODE_EFFECTS[asks.value.mode]} It counts on every API process within 2 seconds.`}
          verb={asks.value.mode === 'observe' ? 'Observe only' : asks.value.mode === 'off' ? 'Turn off' : asks.value.mode === 'enforce' ? 'Enforce' : 'Change it'}
          keep="Leave as it is"
          danger={asks.value.mode === 'off'}
          busy={busy}
          error={failure && <Note message={failure} />}
          onConfirm={() => void change()}
          onClose={() => (asks.value = null)}
        />
      )}
    </>
  );
}

function Whole({ body, onChange }: { body: Body; onChange: (mode: string) => void }): JSX.Element {
  return (
    <section class="card limits-whole">
      {body.problem && <p class="note bad">{body.problem}</p>}
      <dl class="strip">
        <div><dt>All rules</dt><dd><Modes label="Mode of all rules" value={body.mode.value} modes={['each', 'enforce', 'observe', 'off', 'settings']} onChange={onChange} /></dd></div>
        <div><dt>Profile</dt><dd>{body.profile.value} <span class="t3">{fromWords(body.profile.from)}</span></dd></div>
        <div><dt>Programs</dt><dd>{MODE_WORDS[body.bots.value] ?? body.bots.value} <span class="t3">{fromWords(body.bots.from)}</span></dd></div>
        <div><dt>Changed</dt><dd>{body.changed_at ? `${formatUtc(body.changed_at)} UTC by ${body.changed_by ?? '–'}` : 'not since the start'}</dd></div>
      </dl>
    </section>
  );
}

const fromWords = (from: string) => ({ shipped: 'as shipped', settings: 'from the settings', operator: 'by an operator', limits: 'by the mode of all rules', profile: 'by the profile' })[from] ?? from;

function Rule({ rule, isOwn, onChange }: { rule: LimitRule; isOwn: boolean; onChange: (mode: string) => void }): JSX.Element {
  const limit = 'quota' in rule.limit ? `${formatNumber(rule.limit.quota)} in ${formatNumber(rule.limit.window_seconds)} s` : `${formatNumber(rule.limit.per_second)} a second, ${formatNumber(rule.limit.burst)} at once`;
  return (
    <tr>
      <td><b>{rule.name}</b>{rule.counts !== 'requests' && <span class="t3"> counts {rule.counts}</span>}</td>
      <td class="t2">{rule.scope}</td>
      <td class="t2 routes">{rule.routes.join(', ')}</td>
      <td class="num">{limit}</td>
      <td class="t2">{rule.place}{rule.when_redis_is_away && <span class="t3">, without Redis {rule.when_redis_is_away}</span>}</td>
      <td><Modes label={`Mode of ${rule.name}`} value={rule.mode} modes={['enforce', 'observe', 'off']} disabled={!isOwn} onChange={onChange} /> <span class="t3 small">{fromWords(rule.mode_from)}</span></td>
    </tr>
  );
}

/** Shows the mode that is; a choice asks first. */
function Modes({ label, value, modes, disabled, onChange }: { label: string; value: string; modes: string[]; disabled?: boolean; onChange: (mode: string) => void }): JSX.Element {
  return (
    <select
      class={`input mode ${value === 'enforce' || value === 'each' ? '' : 'is-loose'}`}
      aria-label={label}
      disabled={disabled ?? false}
      value={value}
      onChange={(change) => {
        const wanted = change.currentTarget.value;
        change.currentTarget.value = value;
        onChange(wanted);
      }}
    >
      {modes.map((mode) => <option value={mode}>{MODE_WORDS[mode]}</option>)}
    </select>
  );
}
