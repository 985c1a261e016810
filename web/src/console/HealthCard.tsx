import type { JSX } from 'preact';
import { now } from '../base/clock';
import { formatAge, formatNumber, plural } from '../base/format';
import { Icon } from '../base/icons';
import { archive, health, heardAt, isOverviewLost } from './overview';
import { pathOf } from './router';

interface Line {
  label: string;
  /** Unknown: no answer, or none yet. */
  isFine: boolean | undefined;
  text: string;
  href?: string;
}

const MEBIBYTE = 1024 * 1024;

/** What the event log may grow to before somebody should look, as a share of its bound. */
const LOG_FULL = 0.8;

function lines(): Line[] {
  const state = isOverviewLost.value ? null : health.value;
  const behind = isOverviewLost.value ? null : archive.value;
  const fine = (word: string | undefined) => (word === undefined ? undefined : word === 'ok');
  const answer = (one: { status: string; response_ms: number | null; detail: string | null } | undefined, more = '') =>
    !one ? '–' : one.status !== 'ok' ? (one.detail ?? one.status) : `${one.response_ms === null ? 'ok' : `${one.response_ms.toFixed(one.response_ms < 10 ? 1 : 0)} ms`}${more}`;
  const redis = state?.redis;
  const memory = redis?.memory_used_bytes ? `, ${formatNumber(Math.round(redis.memory_used_bytes / MEBIBYTE))} ${redis.memory_limit_bytes ? `of ${formatNumber(Math.round(redis.memory_limit_bytes / MEBIBYTE))} ` : ''}MB` : '';
  const pending = state?.workers.reduce((sum, worker) => sum + worker.pending, 0) ?? 0;
  const silent = behind?.silent_partitions.length ?? 0;
  const open = Object.entries(state?.circuit_breakers ?? {}).filter(([, word]) => word !== 'closed').map(([name, word]) => `${name} ${word.replace('_', '-')}`).join(', ');
  return [
    { label: 'Redis', isFine: fine(redis?.status), text: answer(redis, memory) },
    { label: 'MongoDB', isFine: fine(state?.mongodb.status), text: answer(state?.mongodb, ' for a majority') },
    { label: 'Circuit breakers', isFine: state ? open === '' : undefined, text: state ? open || 'closed' : '–' },
    { label: 'Live view', isFine: fine(state?.live), text: state?.live ?? '–' },
    { label: 'Background tasks', isFine: fine(state?.tasks), text: state ? state.failing_tasks.join(', ') || state.tasks : '–' },
    { label: 'Workers', isFine: state ? state.workers.length > 0 && !silent : undefined, text: state ? `${formatNumber(state.workers.length)} reading, ${formatNumber(pending)} pending${silent ? `, ${plural(silent, 'partition')} silent` : ''}` : '–' },
    {
      label: 'Booking log',
      isFine: behind ? behind.log_entries < behind.log_entries_max * LOG_FULL : undefined,
      text: behind ? `${formatNumber(behind.log_entries)} of ${formatNumber(behind.log_entries_max)}` : '–',
    },
    { label: 'Dead letters', isFine: behind ? behind.dead_letters === 0 : undefined, text: formatNumber(behind?.dead_letters), href: pathOf('dead-letters') },
  ];
}

/** Each dependency, and what it says. */
export function HealthCard(): JSX.Element {
  return (
    <section class="card health">
      <div class="row head">
        <h2>Health</h2>
        <span class="grow" />
        <span class="t3 small">{isOverviewLost.value ? 'no answer' : heardAt.value ? `${formatAge(Math.max(0, now.value - heardAt.value))} ago` : ''}</span>
      </div>
      <ul>
        {lines().map(({ label, isFine, text, href }) => (
          <li class={isFine ? 'ok' : isFine === false ? 'bad' : ''}>
            <Icon name={isFine ? 'check' : isFine === false ? 'warn' : 'minus'} />
            {href ? <a class="grow" href={href}>{label}</a> : <span class="grow">{label}</span>}
            <span class="t3">{text}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
