import { useSignal, type Signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { Answer } from '../api/http';
import { messageOf, type Message } from '../base/words';

export interface Loaded<T> {
  data: Signal<T | null>;
  failure: Signal<Message | null>;
  busy: Signal<boolean>;
  reload: () => Promise<void>;
}

/** What a route answers: read anew when `about` changes, and every so many milliseconds while it may change. */
export function useLoad<T>(read: () => Promise<Answer<T>>, about: unknown[], everyMs = 0, mayChange: (data: T) => boolean = () => true): Loaded<T> {
  const data = useSignal<T | null>(null);
  const failure = useSignal<Message | null>(null);
  const busy = useSignal(false);
  const asked = useRef(0);
  const load = async () => {
    // Only what was asked for last is shown.
    const turn = ++asked.current;
    const isWanted = () => turn === asked.current;
    busy.value = true;
    try {
      const { body } = await read();
      if (!isWanted()) return;
      data.value = body;
      failure.value = null;
    } catch (error) {
      if (isWanted()) failure.value = messageOf(error);
    } finally {
      if (isWanted()) busy.value = false;
    }
  };
  useEffect(() => {
    data.value = failure.value = null;
    void load();
    const timer = everyMs ? setInterval(() => !document.hidden && !busy.value && (data.value === null || mayChange(data.value)) && void load(), everyMs) : undefined;
    return () => {
      asked.current++;
      clearInterval(timer);
    };
  }, about);
  return { data, failure, busy, reload: load };
}

/** An act on the server that a dialog asks for: what it says about a failure, and whether it runs. */
export function useAct(): { busy: boolean; failure: Message | null; act: (work: () => Promise<void>) => Promise<void> } {
  const busy = useSignal(false);
  const failure = useSignal<Message | null>(null);
  const act = async (work: () => Promise<void>) => {
    busy.value = true;
    failure.value = null;
    try {
      await work();
    } catch (error) {
      failure.value = messageOf(error);
    }
    busy.value = false;
  };
  return { busy: busy.value, failure: failure.value, act };
}
