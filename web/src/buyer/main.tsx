import '../base/theme.css';
import '../base/base.css';
import '../map/map.css';
import './buyer.css';
import { useSignal, useSignalEffect } from '@preact/signals';
import { render, type JSX } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { now, startClock } from '../base/clock';
import { formatCountdown, formatDayTime } from '../base/format';
import { Button, Live } from '../base/ui';
import { Choice } from './Choice';
import { Header } from './Header';
import { Confirming, Ended, Held, Sold } from './Held';
import { take } from './hold';
import { MapArea, type MapHandle } from './MapArea';
import { MessageNote } from './parts';
import { resumePayment } from './pay';
import { Sale } from './sale';
import { Waiting } from './Waiting';

const NARROW = '(max-width: 1099px)';

function App({ sale }: { sale: Sale }): JSX.Element {
  const failure = sale.failure.value;
  const event = sale.event.value;
  const place = sale.room.place.value;
  const isWaiting = place !== null && place.state !== 'admitted' && !sale.booking.value;
  return (
    <div class="page">
      <Header sale={sale} />
      {failure && (
        <main class="failure">
          <MessageNote message={failure} />
          <a class="btn" href="/">All events</a>
        </main>
      )}
      {!failure && !event && <main class="loading" aria-busy="true"><div class="skeleton map-wait" /></main>}
      {event && (isWaiting ? <Waiting sale={sale} /> : <Main sale={sale} />)}
      <Live text={sale.spoken.value} />
      <Live text={sale.alert.value} assertive />
    </div>
  );
}

function Main({ sale }: { sale: Sale }): JSX.Element {
  const handle = useMemo<MapHandle>(() => ({ view: null }), []);
  const narrow = useSignal(matchMedia(NARROW).matches);
  const sheet = useSignal(0);
  const panel = useRef<HTMLElement>(null);
  useEffect(() => {
    const media = matchMedia(NARROW);
    const change = () => (narrow.value = media.matches);
    media.addEventListener('change', change);
    const observer = new ResizeObserver(([entry]) => (sheet.value = Math.round(entry!.borderBoxSize[0]!.blockSize)));
    if (panel.current) observer.observe(panel.current);
    return () => {
      media.removeEventListener('change', change);
      observer.disconnect();
    };
  }, []);
  useKeys(sale, handle);
  // On a small screen the seats that were got fill it.
  const held = sale.booking.value?.status === 'HOLD' ? sale.booking.value.seats : undefined;
  const middle = held?.[held.length >> 1]?.seat_id;
  const isReady = sale.scene.value !== null && sheet.value > 0;
  useEffect(() => {
    if (middle && narrow.value && isReady) handle.view?.showSeat(middle, 35);
  }, [middle, isReady]);
  return (
    <main class="main">
      <MapArea sale={sale} handle={handle} isNarrow={narrow.value} sheet={narrow.value ? sheet.value : 0} />
      <aside class="panel" ref={panel} aria-label="Your seats">
        <Session sale={sale} />
        <Panel sale={sale} onSection={(section) => handle.view?.showSection(section)} />
      </aside>
    </main>
  );
}

function Panel({ sale, onSection }: { sale: Sale; onSection: (section: number) => void }): JSX.Element {
  const booking = sale.booking.value;
  const event = sale.event.value!;
  if (booking?.status === 'HOLD') return <Held sale={sale} booking={booking} key={booking.id} />;
  if (booking?.status === 'CONFIRMING') return <Confirming sale={sale} booking={booking} />;
  if (booking?.status === 'CONFIRMED') return <Sold sale={sale} booking={booking} />;
  if (booking) return <Ended sale={sale} booking={booking} />;
  return (
    <>
      {event.status === 'SCHEDULED' && event.on_sale_at && <OnSaleAt iso={event.on_sale_at} />}
      {sale.room.message.value && !sale.room.place.value && (
        <div class="panel-note">
          <MessageNote message={sale.room.message.value} />
          <Button kind="wide" onClick={() => void sale.room.join()}>Join the line</Button>
        </div>
      )}
      <Choice sale={sale} onSection={onSection} />
    </>
  );
}

/** When the sale begins. */
function OnSaleAt({ iso }: { iso: string }): JSX.Element {
  const left = Date.parse(iso) - now.value;
  return (
    <div class="panel-note">
      <div class="note action">
        On sale {formatDayTime(iso)}
        {left > 0 && left < 86_400_000 && <b class="in"> · in {formatCountdown(left)}</b>}
      </div>
    </div>
  );
}

/** Time to choose, once let in from the waiting room. */
function Session({ sale }: { sale: Sale }): JSX.Element | null {
  const endsAt = sale.room.sessionEndsAt.value;
  const asked = useRef(0);
  useSignalEffect(() => {
    const ends = sale.room.sessionEndsAt.value;
    if (ends === null || ends > now.value || asked.current === ends) return;
    asked.current = ends;
    sale.room.checkSession();
  });
  if (endsAt === null || sale.booking.value) return null;
  const left = endsAt - now.value;
  return (
    <div class="panel-note">
      <div class={`note ${left < 60_000 ? 'warn' : 'action'} row`}>
        <span class="grow">It is your turn.</span>
        <b>{formatCountdown(left)}</b>
        <span>to choose and hold</span>
      </div>
    </div>
  );
}

function useKeys(sale: Sale, handle: MapHandle): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const target = event.target as HTMLElement;
      if (target.matches('input, select, textarea') || target.closest('dialog')) return;
      if (event.key === '+' || event.key === '=') handle.view?.zoomBy(1.6);
      else if (event.key === '-') handle.view?.zoomBy(1 / 1.6);
      else if (event.key === '0') handle.view?.fit();
      else if (event.key === 'Escape') sale.dropConflict();
      else if ((event.key === '1' || event.key === '2') && sale.conflict.value) void take(sale, Number(event.key) - 1);
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, []);
}

const sale = new Sale(Number(location.pathname.split('/')[2]));
startClock();
render(<App sale={sale} />, document.getElementById('app')!);
void sale.start().then(() => resumePayment(sale));
