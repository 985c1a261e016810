/** Storage that may be blocked or full: then nothing is remembered, and nothing else fails. */
function area(name: 'localStorage' | 'sessionStorage') {
  const open = (): Storage | undefined => {
    try {
      return window[name];
    } catch {
      return undefined;
    }
  };
  return {
    get(key: string): string | null {
      return open()?.getItem(`holdfast.${key}`) ?? null;
    },
    set(key: string, value: string | null): void {
      try {
        if (value === null) open()?.removeItem(`holdfast.${key}`);
        else open()?.setItem(`holdfast.${key}`, value);
      } catch (error) {
        console.warn('Not remembered on this device', error);
      }
    },
    getJson<T>(key: string): T | null {
      try {
        return JSON.parse(this.get(key) ?? 'null') as T | null;
      } catch {
        return null;
      }
    },
    setJson(key: string, value: unknown): void {
      this.set(key, value === null ? null : JSON.stringify(value));
    },
  };
}

/** Kept on this device. */
export const device = area('localStorage');
/** Kept for this tab only. */
export const tab = area('sessionStorage');
