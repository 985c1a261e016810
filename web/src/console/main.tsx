import '../base/theme.css';
import '../base/base.css';
import '../map/map.css';
import './console.css';
import { useSignal } from '@preact/signals';
import { render, type JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { now, startClock } from '../base/clock';
import { formatAge, formatNumber, plural } from '../base/format';
import { Icon, Logo, type IconName } from '../base/icons';
import { Button, Dialog, ThemeSwitch } from '../base/ui';
import { access, checkAccess, isIn, operator, setKey } from './admin';
import { AccessLists } from './AccessLists';
import { Audit } from './Audit';
import { Booking } from './Booking';
import { Bookings } from './Bookings';
import { CrowdBar } from './CrowdCard';
import { DeadLetters } from './DeadLetters';
import { Events } from './Events';
import { Limits } from './Limits';
import { Live } from './Live';
import { archive, followOverview, health, isOverviewLost, overview, processes } from './overview';
import { Report } from './Report';
import { Rooms } from './Rooms';
import { go, onLink, pathOf, route, type Section } from './router';
import { events, loadEvents, nextSale, watchEvent, watchSome } from './state';

const EVENTS_MS = 10_000;
const NAV: { section: Section; label: string; icon: IconName; key: string }[] = [
  { section: 'live', label: 'Live', icon: 'pulse', key: 'l' },
  { section: 'events', label: 'Events', icon: 'calendar', key: 'e' },
  { section: 'bookings', label: 'Bookings', icon: 'ticket', key: 'b' },
  { section: 'rooms', label: 'Waiting rooms', icon: 'people', key: 'w' },
  { section: 'report', label: 'Report', icon: 'report', key: 'r' },
  { section: 'limits', label: 'Limits', icon: 'gauge', key: 'i' },
  { section: 'access', label: 'Access lists', icon: 'shield', key: 'c' },
  { section: 'dead-letters', label: 'Dead letters', icon: 'inbox', key: 'd' },
  { section: 'audit', label: 'Audit', icon: 'list', key: 'a' },
];
/** From here on the navigation is about the whole system. */
const FIRST_OF_SYSTEM: Section = 'limits';

function App(): JSX.Element {
  useEffect(() => {
    checkAccess().catch((error) => console.warn('No answer', error));
  }, []);
  if (access.value === 'unknown') return <Unknown />;
  return isIn.value ? <Shell /> : <Door />;
}

function Unknown(): JSX.Element {
  useEffect(() => {
    const timer = setInterval(() => access.value === 'unknown' && checkAccess().catch(() => undefined), 3000);
    return () => clearInterval(timer);
  }, []);
  return <main class="door"><p class="t3" role="status">Waiting for the server…</p></main>;
}

/** Asks for the admin key. */
function Door(): JSX.Element {
  const value = useSignal('');
  const busy = useSignal(false);
  const trouble = useSignal('');
  const submit = async (event: Event) => {
    event.preventDefault();
    busy.value = true;
    trouble.value = '';
    setKey(value.value.trim());
    try {
      await checkAccess();
    } catch (error) {
      trouble.value = error instanceof Error ? error.message : String(error);
    }
    busy.value = false;
  };
  const isWrong = access.value === 'wrong';
  return (
    <main class="door">
      <form class="card" onSubmit={submit}>
        <Logo size={32} />
        <h1>Holdfast console</h1>
        <p class="t2">Operators show their admin key. It is kept for this tab only.</p>
        <label class="field">
          <span>Admin key</span>
          <input class="input" type="password" autocomplete="off" autofocus value={value.value} aria-invalid={isWrong} aria-describedby="key-error" onInput={(event) => (value.value = event.currentTarget.value)} />
        </label>
        <p class="error" id="key-error" role="alert">{trouble.value || (isWrong ? 'This is not an admin key.' : '')}</p>
        <Button kind="primary wide" type="submit" busy={busy.value} disabled={!value.value.trim()}>Open the console</Button>
      </form>
    </main>
  );
}

function Shell(): JSX.Element {
  const { section, id } = route.value;
  const helps = useSignal(false);
  useEffect(() => {
    void loadEvents().then(watchSome);
    const stop = followOverview();
    const timer = setInterval(() => !document.hidden && void loadEvents(), EVENTS_MS);
    return () => {
      stop();
      clearInterval(timer);
    };
  }, []);
  useEffect(() => {
    if (section === 'live' && id && Number(id)) watchEvent(Number(id));
  }, [section, id]);
  useKeys(() => (helps.value = true));
  return (
    <div class="shell" onClick={onLink}>
      <Sidebar />
      <div class="content">
        <CrowdBar />
        {section === 'live' && <Live />}
        {section === 'events' && <Events />}
        {section === 'bookings' && (id ? <Booking id={id} key={id} /> : <Bookings />)}
        {section === 'report' && <Report />}
        {section === 'rooms' && <Rooms />}
        {section === 'limits' && <Limits />}
        {section === 'access' && <AccessLists />}
        {section === 'dead-letters' && <DeadLetters />}
        {section === 'audit' && <Audit />}
      </div>
      {helps.value && (
        <Dialog title="Keys" onClose={() => (helps.value = false)}>
          <div class="keys">
            {([['/', 'Search'], ['G then L E B W R', 'Live, Events, Bookings, Waiting rooms, Report'], ['G then I C D A', 'Limits, Access lists, Dead letters, Audit'], ['J K', 'Rows of a table'], ['Enter', 'Open'], ['?', 'These keys']] as const).map(([keys, text]) => (
              <>
                <kbd>{keys}</kbd>
                <span>{text}</span>
              </>
            ))}
          </div>
          <div class="actions"><Button onClick={() => (helps.value = false)}>Close</Button></div>
        </Dialog>
      )}
    </div>
  );
}

function Sidebar(): JSX.Element {
  const { section } = route.value;
  const next = nextSale.value;
  const state = health.value;
  const isLost = isOverviewLost.value;
  const isFine = state?.status === 'ok' && !isLost;
  const figure: Partial<Record<Section, string | undefined>> = {
    events: events.value ? formatNumber(events.value.length) : undefined,
    rooms: overview.value?.waiting_room && overview.value.waiting_room.status !== 'off' ? 'on' : undefined,
    'dead-letters': archive.value ? formatNumber(archive.value.dead_letters) : undefined,
  };
  return (
    <nav class="sidebar" aria-label="Console">
      <a href="/console" class="brand" aria-label="Holdfast"><Logo /> <b>Holdfast</b></a>
      <ul>
        {NAV.map((item) => (
          <li class={item.section === FIRST_OF_SYSTEM ? 'apart' : ''}>
            <a href={pathOf(item.section)} aria-current={section === item.section ? 'page' : undefined}>
              <Icon name={item.icon} />
              <span class="grow">{item.label}</span>
              {figure[item.section] && <span class={`small ${item.section === 'dead-letters' && archive.value?.dead_letters ? 'badge bad' : 't3'}`}>{figure[item.section]}</span>}
            </a>
          </li>
        ))}
      </ul>
      <span class="grow" />
      {next && (
        <a class="card next" href={pathOf('live', next.id)}>
          <Icon name="clock" size={20} />
          <span class="grow">
            <span class="t3 small">Next, in {formatAge(Math.max(0, Date.parse(next.on_sale_at!) - now.value))}</span>
            <b class="cut">{next.name}</b>
            <span class="t3 small">{formatNumber(next.total_seats)} seats</span>
          </span>
        </a>
      )}
      <div class="foot">
        <i class={`dot ${isFine ? 'ok' : isLost ? 'bad' : 'warn'}`} />
        <span class="grow">
          {isLost ? 'No answer' : isFine ? 'All systems ready' : state ? `Status ${state.status}` : 'Checking'}
          <span class="t3 small">{state ? `${formatNumber(processes.value)} API, ${plural(state.workers.length, 'worker')}` : '–'}</span>
        </span>
        <ThemeSwitch />
      </div>
      {access.value === 'key' && (
        <Button
          kind="plain small"
          icon="lock"
          onClick={() => {
            setKey('');
            location.reload();
          }}
        >
          Forget the key of {operator.value?.name ?? '–'}
        </Button>
      )}
    </nav>
  );
}

/** "/" searches, G and a letter goes there, J and K walk through rows. */
function useKeys(help: () => void): void {
  const goes = useRef(0);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || target.matches('input, select, textarea') || target.closest('dialog')) return;
      const item = NAV.find((one) => one.key === event.key.toLowerCase());
      if (Date.now() - goes.current < 1500 && item) {
        goes.current = 0;
        go(pathOf(item.section));
      } else if (event.key === 'g') goes.current = Date.now();
      else if (event.key === '/') {
        event.preventDefault();
        document.querySelector<HTMLInputElement>('#search')?.focus();
      } else if (event.key === '?') help();
      else if (event.key === 'j' || event.key === 'k') walk(event.key === 'j' ? 1 : -1);
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, []);
}

function walk(step: number): void {
  const rows = [...document.querySelectorAll<HTMLElement>('[data-row]')];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  rows[Math.max(0, Math.min(rows.length - 1, at + step))]?.focus();
}

startClock();
render(<App />, document.getElementById('app')!);
