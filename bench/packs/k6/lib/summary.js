// What is printed at the end, and written to SUMMARY_JSON.
import { SUMMARY_JSON } from './settings.js';

const TRENDS = [
  'hold_refused_ms', 'hold_granted_ms', 'confirm_ms', 'seat_map_ms', 'join_ms', 'status_ms',
  'wait_seconds', 'update_ms',
];

/** The result of `handleSummary`: lines for people, and JSON if SUMMARY_JSON names a file. */
export function summarize(title, data, lines = []) {
  if (!data.setup_data) {
    // `setup` has said why.
    return { stdout: `${title}: not begun\n` };
  }
  const failed = failedThresholds(data.metrics);
  const numbers = counts(data.metrics);
  const text = [
    '',
    `${title}: ${numbers.http_reqs || 0} requests in ${(data.state.testRunDurationMs / 1000).toFixed(1)} s`,
    ...lines,
    ...TRENDS.filter((name) => data.metrics[name] && data.metrics[name].values.count > 0).map((name) => trend(name, data.metrics[name])),
    `  refused by limits (429) ${numbers.answers_429 || 0}, unavailable (503) ${numbers.answers_503 || 0}, `
      + `unanswered ${numbers.requests_unanswered || 0}, server errors ${numbers.server_errors || 0}`,
    ...droppedLine(numbers.dropped_iterations || 0),
    ...failedChecks(data.root_group).map((line) => `  CHECK FAILED ${line}`),
    ...failed.map((line) => `  THRESHOLD MISSED ${line}`),
    failed.length === 0 ? '  All thresholds are met.' : `  ${failed.length} thresholds are missed.`,
    '',
  ];
  const result = { stdout: `${text.join('\n')}\n` };
  if (SUMMARY_JSON) {
    result[SUMMARY_JSON] = JSON.stringify({ title, failed, metrics: numbers, trends: trends(data.metrics) });
  }
  return result;
}

/** Load that k6 could not send does not count for the server. */
function droppedLine(dropped) {
  return dropped === 0 ? [] : [
    `  k6 left out ${dropped} arrivals that it could not begin in time: raise USERS, or give it a stronger machine`,
  ];
}

/** Value of a counter, gauge or rate of the run. */
export function value(data, name) {
  return counts(data.metrics)[name] || 0;
}

function counts(metrics) {
  const found = {};
  for (const [name, metric] of Object.entries(metrics)) {
    const { count, value: gauge, rate } = metric.values;
    if (metric.type === 'counter') {
      found[name] = count;
    } else if (metric.type === 'gauge') {
      found[name] = gauge;
    } else if (metric.type === 'rate') {
      found[name] = rate;
    }
  }
  return found;
}

function trends(metrics) {
  const found = {};
  for (const [name, metric] of Object.entries(metrics)) {
    if (metric.type === 'trend') {
      found[name] = metric.values;
    }
  }
  return found;
}

function trend(name, metric) {
  const unit = name.endsWith('_seconds') ? 's' : 'ms';
  const part = (label, key) => `${label} ${metric.values[key].toFixed(1)}`;
  const spread = [part('median', 'med'), part('p95', 'p(95)'), part('p99', 'p(99)'), part('max', 'max')];
  return `  ${name.padEnd(18)} ${String(metric.values.count).padStart(7)} · ${spread.join(' · ')} ${unit}`;
}

function failedThresholds(metrics) {
  const failed = [];
  for (const [name, metric] of Object.entries(metrics)) {
    for (const [expression, result] of Object.entries(metric.thresholds || {})) {
      if (!result.ok) {
        failed.push(`${name}: ${expression}`);
      }
    }
  }
  return failed;
}

function failedChecks(group) {
  const own = group.checks.filter((one) => one.fails > 0);
  const lines = own.map((one) => `${one.fails} of ${one.fails + one.passes}: ${one.name}`);
  return [...lines, ...group.groups.flatMap(failedChecks)];
}
