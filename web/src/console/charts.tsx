import type { JSX } from 'preact';
import { formatNumber, formatRate } from '../base/format';

/** A line without axes: how a value has moved. */
export function Sparkline({ values, tone }: { values: number[]; tone: string }): JSX.Element {
  const width = 200;
  const height = 36;
  const high = Math.max(...values, 1e-9);
  const low = Math.min(...values, high * 0.5);
  const span = high - low || 1;
  const points = values.map((value, index) => `${((index * width) / Math.max(1, values.length - 1)).toFixed(1)},${(height - 4 - ((value - low) / span) * (height - 8)).toFixed(1)}`);
  if (points.length < 2) return <svg class="spark" viewBox={`0 0 ${width} ${height}`} aria-hidden="true" />;
  return (
    <svg class={`spark ${tone}`} viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
      <polygon points={`0,${height} ${points.join(' ')} ${width},${height}`} />
      <polyline points={points.join(' ')} />
    </svg>
  );
}

export interface Bar {
  at: number;
  parts: number[];
}

/** A moment worth a line across the chart. */
export interface Moment {
  at: number;
  text: string;
}

function niceStep(high: number, steps: number): number {
  const raw = Math.max(high, 1e-9) / steps;
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((step) => step >= raw) ?? raw;
}

/** Whole multiples of a length of time, as many as there is room for. */
function wholeTicks(from: number, to: number, everyMs: number, countMax: number): number[] {
  const step = everyMs * Math.max(1, Math.ceil((to - from) / everyMs / countMax));
  const first = Math.ceil(from / step) * step;
  return Array.from({ length: Math.max(0, Math.floor((to - first) / step) + 1) }, (_, i) => first + i * step);
}

/** Bars in time, parts stacked; the axis in UTC. */
export function StackedBars({ bars, tones, from, to, label, height = 190, tickMs, moments = [], wide = 780 }: { bars: Bar[]; tones: string[]; from: number; to: number; label: string; height?: number; tickMs?: number; moments?: Moment[]; wide?: number }): JSX.Element {
  const width = matchMedia('(max-width: 760px)').matches ? 380 : wide;
  const left = 44;
  const bottom = 22;
  const top = 8;
  const high = Math.max(...bars.map((bar) => bar.parts.reduce((a, b) => a + b, 0)), 1);
  const step = niceStep(high, 4);
  const ceiling = step * Math.ceil(high / step);
  const x = (at: number) => left + ((at - from) / (to - from)) * (width - left);
  const y = (value: number) => top + (1 - value / ceiling) * (height - top - bottom);
  const slot = bars.length > 1 ? Math.min(...bars.slice(1).map((bar, i) => x(bar.at) - x(bars[i]!.at))) : 8;
  const thickness = Math.max(1.2, Math.min(14, slot * 0.78));
  const lines = Array.from({ length: Math.round(ceiling / step) + 1 }, (_, i) => i * step);
  const count = width > 500 ? 5 : 3;
  const ticks = tickMs ? wholeTicks(from, to, tickMs, count * 2) : Array.from({ length: count }, (_, i) => from + ((to - from) / count) * (i + 0.5));
  return (
    <svg class="bars" viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label}>
      {lines.map((value) => (
        <g>
          <line x1={left} x2={width} y1={y(value)} y2={y(value)} class={value === 0 ? 'base' : 'grid-line'} />
          <text x={left - 8} y={y(value) + 4} class="axis end">{value >= 1 || value === 0 ? formatNumber(value) : formatRate(value)}</text>
        </g>
      ))}
      {bars.map((bar) => {
        let sum = 0;
        return bar.parts.map((part, index) => {
          if (part <= 0) return null;
          const y1 = y(sum + part);
          const rect = <rect x={x(bar.at) - thickness / 2} width={thickness} y={y1} height={Math.max(0.5, y(sum) - y1)} class={tones[index] ?? ''} />;
          sum += part;
          return rect;
        });
      })}
      {moments.map(({ at, text }) => (
        <g>
          <line x1={x(at)} x2={x(at)} y1={top} y2={height - bottom} class="moment" />
          <text x={x(at) + (x(at) > width / 2 ? -6 : 6)} y={top + 10} class={`axis ${x(at) > width / 2 ? 'end' : ''}`}>{text}</text>
        </g>
      ))}
      {ticks.filter((at) => x(at) < width - 14).map((at) => (
        <text x={x(at)} y={height - 4} class="axis middle">{new Date(at).toISOString().slice(11, to - from > 4 * 3_600_000 ? 16 : to - from > 600_000 ? 16 : 19)}</text>
      ))}
    </svg>
  );
}
