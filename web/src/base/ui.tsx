import { useSignal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { Icon, type IconName } from './icons';
import { device } from './storage';

type ButtonProps = JSX.IntrinsicElements['button'] & { kind?: string; icon?: IconName; busy?: boolean };

export function Button({ kind = '', icon, busy, children, disabled, ...rest }: ButtonProps): JSX.Element {
  return (
    <button type="button" {...rest} class={`btn ${kind}`} disabled={disabled || busy} aria-busy={busy ? 'true' : undefined}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

export function Segmented<T extends string>(props: {
  label: string;
  value: T;
  options: { value: T; label: string }[];
  onChange: (value: T) => void;
}): JSX.Element {
  const onKey = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const index = props.options.findIndex((option) => option.value === props.value);
    const next = (index + step + props.options.length) % props.options.length;
    props.onChange(props.options[next]!.value);
    (event.currentTarget as HTMLElement).querySelectorAll('button')[next]?.focus();
  };
  return (
    <div class="segmented" role="radiogroup" aria-label={props.label} onKeyDown={onKey}>
      {props.options.map((option) => (
        <button
          type="button"
          role="radio"
          aria-checked={option.value === props.value}
          tabIndex={option.value === props.value ? 0 : -1}
          onClick={() => props.onChange(option.value)}
        >
          {option.label}
        </button>
      ))}
    </div>
  );
}

export function Stepper(props: { label: string; value: number; min: number; max: number; onChange: (value: number) => void }): JSX.Element {
  const { value, min, max } = props;
  return (
    <span class="stepper" role="group" aria-label={props.label}>
      <button type="button" aria-label="Fewer" disabled={value <= min} onClick={() => props.onChange(value - 1)}>−</button>
      <output aria-live="polite">{value}</output>
      <button type="button" aria-label="More" disabled={value >= max} onClick={() => props.onChange(value + 1)}>+</button>
    </span>
  );
}

/** A modal dialog: traps the focus and gives it back. */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement as HTMLElement | null;
    if (dialog && !dialog.open) dialog.showModal();
    return () => {
      dialog?.close();
      before?.focus?.();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      class={props.wide ? 'wide' : ''}
      aria-label={props.title}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
      onKeyDown={(event) => event.stopPropagation()}
      onClick={(event) => event.target === ref.current && props.onClose()}
    >
      <h2>{props.title}</h2>
      {props.children}
    </dialog>
  );
}

/** Asks before something happens: names the effect, and the verb is on the button. */
export function Confirm(props: {
  title: string;
  effect: ComponentChildren;
  verb: string;
  keep: string;
  danger?: boolean;
  busy?: boolean;
  error?: ComponentChildren;
  onConfirm: () => void;
  onClose: () => void;
}): JSX.Element {
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <div class="t2">{props.effect}</div>
      {props.error && <div class="error" role="alert" style={{ marginTop: '12px' }}>{props.error}</div>}
      <div class="actions">
        <Button autofocus onClick={props.onClose}>{props.keep}</Button>
        <Button kind={props.danger ? 'danger solid' : 'primary'} busy={props.busy ?? false} onClick={props.onConfirm}>{props.verb}</Button>
      </div>
    </Dialog>
  );
}

export function CopyId({ id, label }: { id: string; label: string }): JSX.Element {
  const copied = useSignal(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(id);
      copied.value = true;
      setTimeout(() => (copied.value = false), 1500);
    } catch (error) {
      console.warn('Not copied', error);
    }
  };
  return (
    <button type="button" class="btn plain icon small" title={copied.value ? 'Copied' : label} aria-label={copied.value ? 'Copied' : label} onClick={copy}>
      <Icon name={copied.value ? 'check' : 'copy'} size={14} />
    </button>
  );
}

/** What a server said, behind "More". */
export function More({ detail, trace }: { detail?: string | undefined; trace?: string | undefined }): JSX.Element | null {
  if (!detail && !trace) return null;
  return (
    <details class="more">
      <summary>More</summary>
      {detail && <p>{detail}</p>}
      {trace && <p>Trace <span class="mono">{trace}</span></p>}
    </details>
  );
}

export function themeIsDark(): boolean {
  const chosen = document.documentElement.dataset['theme'];
  return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
}

/** Switches between light and dark, on this device. */
export function ThemeSwitch(): JSX.Element {
  const dark = useSignal(themeIsDark());
  const flip = () => {
    dark.value = !dark.value;
    const theme = dark.value ? 'dark' : 'light';
    document.documentElement.dataset['theme'] = theme;
    device.set('theme', theme);
    window.dispatchEvent(new Event('themechange'));
  };
  const label = dark.value ? 'Light theme' : 'Dark theme';
  return (
    <button type="button" class="btn plain icon" aria-label={label} title={label} onClick={flip}>
      <Icon name={dark.value ? 'sun' : 'moon'} />
    </button>
  );
}

/** Text for screen readers, spoken as it changes. */
export function Live({ text, assertive }: { text: string; assertive?: boolean }): JSX.Element {
  return <div class="sr" role={assertive ? 'alert' : 'status'} aria-live={assertive ? 'assertive' : 'polite'}>{text}</div>;
}
