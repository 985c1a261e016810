import { signal } from '@preact/signals';
import { admin } from './admin';
import type { LogLine } from './types';

const LINES_MAX = 80;
const RETRY_MS = [1000, 2000, 4000, 8000];
/** The server says something every 15 s. */
const SILENCE_MS = 40_000;

/** Follows an event's log: a stream of JSON lines, opened again when it ends. */
export class EventLog {
  /** The newest first. */
  readonly lines = signal<LogLine[]>([]);
  readonly isLive = signal(false);
  private readonly stopped = new AbortController();

  constructor(private readonly event: number) {
    void this.follow();
  }

  stop(): void {
    this.stopped.abort();
  }

  private async follow(): Promise<void> {
    for (let failures = 0; !this.stopped.signal.aborted; failures++) {
      try {
        const hadLines = await this.read();
        if (hadLines) failures = 0;
      } catch (error) {
        if (!this.stopped.signal.aborted) console.warn('No log of the event', error);
      }
      this.isLive.value = false;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]! * (0.75 + Math.random() / 2)));
    }
  }

  /** Reads one stream to its end; returns whether it said anything. */
  private async read(): Promise<boolean> {
    const silent = new AbortController();
    let timer = setTimeout(() => silent.abort(), SILENCE_MS);
    let heard = false;
    try {
      const response = await admin.log(this.event, AbortSignal.any([this.stopped.signal, silent.signal]));
      if (!response.ok || !response.body) throw new Error(`The server answered ${response.status}`);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return heard;
        clearTimeout(timer);
        timer = setTimeout(() => silent.abort(), SILENCE_MS);
        const parts = (rest + value).split('\n');
        rest = parts.pop() ?? '';
        this.take(parts.filter(Boolean).map((line) => JSON.parse(line) as LogLine));
        heard = this.isLive.value = true;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  private take(lines: LogLine[]): void {
    const news = lines.filter((line) => line.type !== 'heartbeat' && line.type !== 'started');
    if (news.length) this.lines.value = [...news.reverse(), ...this.lines.value].slice(0, LINES_MAX);
  }
}
