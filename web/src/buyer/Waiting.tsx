import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { serverNow } from '../base/clock';
import { countWord, formatDayTime, formatDuration, formatNumber, formatTime, plural } from '../base/format';
import { Icon } from '../base/icons';
import { Button, Confirm } from '../base/ui';
import { SmallHouse } from '../map/MiniMap';
import { tiersOf } from '../map/tiers';
import { isCoarse as isCoarseOf, leftWord } from './left';
import { MessageNote } from './parts';
import type { Sale } from './sale';

const DOTS = 44;
const SPEAK_MS = 30_000;

/** The page while a place in line is held: place, estimate, steps, and the house. */
export function Waiting({ sale }: { sale: Sale }): JSX.Element {
  const { room } = sale;
  const place = room.place.value!;
  const isDraw = place.state === 'gathering';
  const leaves = useSignal(false);
  useEffect(() => {
    const speak = () => {
      const current = room.place.value;
      if (current?.position) sale.spoken.value = `Your place in line is ${formatNumber(current.position)}.`;
    };
    speak();
    const timer = setInterval(speak, SPEAK_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <main class="waiting">
      <section class="card">{isDraw ? <Draw sale={sale} /> : <Line sale={sale} />}</section>
      <section class="card">
        <Steps step={isDraw ? 1 : 2} />
        <div class="row to-choose">
          <span class="ring"><Icon name="clock" size={20} /></span>
          <div>
            <b>{sessionWords(sale)}</b>
            <p class="t2">It starts when you are let in.</p>
          </div>
        </div>
      </section>
      <House sale={sale} />
      {room.message.value && <MessageNote message={room.message.value} />}
      <div class="waiting-foot">
        <p class="t2">Keep this page open: it lets you in by itself.<br />If you reload, you keep your place.</p>
        <Button kind="plain" onClick={() => (leaves.value = true)}>Leave the line</Button>
      </div>
      {leaves.value && (
        <Confirm
          danger
          title="Leave the line?"
          effect="Your place is given up. You can join again, at the end."
          verb="Leave the line"
          keep="Keep my place"
          onClose={() => (leaves.value = false)}
          onConfirm={() => {
            leaves.value = false;
            void room.leave();
          }}
        />
      )}
    </main>
  );
}

function sessionWords(sale: Sale): string {
  const seconds = sale.room.stats.value?.session_duration_seconds;
  return seconds ? `${formatDuration(seconds)} to choose` : 'Your time to choose';
}

function Line({ sale }: { sale: Sale }): JSX.Element {
  const { room } = sale;
  const place = room.place.value!;
  const kept = room.kept.value;
  const pace = room.pace.value;
  const first = kept?.firstPosition ?? place.position;
  const done = first && place.position !== null ? Math.max(0, Math.min(1, 1 - place.position / (first + 1))) : 0;
  return (
    <>
      <div class="row">
        <h1 class="grow label">Your place in line</h1>
        <span class="badge action">{pace ? 'Moving' : 'Waiting'}</span>
      </div>
      <p class="place">{formatNumber(place.position)}</p>
      <p class="estimate">
        {place.waitSeconds ? <>About <b>{formatDuration(place.waitSeconds)}</b> to go</> : place.waitSeconds === 0 ? 'Nearly there' : 'How long it takes is not known yet'}
        {pace ? `, ${formatNumber(Math.round(pace))} people a minute` : ''}
      </p>
      <Track done={done} />
      <div class="row t3 small">
        <span class="grow">{kept ? `Joined ${formatTime(new Date(kept.joinedAt).toISOString())}${kept.firstPosition ? ` at ${formatNumber(kept.firstPosition)}` : ''}` : ''}</span>
        <span>Your turn</span>
      </div>
    </>
  );
}

function Draw({ sale }: { sale: Sale }): JSX.Element {
  const place = sale.room.place.value!;
  const at = place.drawAt ?? sale.event.value?.on_sale_at ?? null;
  const minutes = at ? Math.ceil((Date.parse(at) - serverNow()) / 60_000) : null;
  return (
    <>
      <div class="row">
        <h1 class="grow label">You are in the draw</h1>
        <span class="badge action">Gathering</span>
      </div>
      <p class="place draw">{at ? formatTime(at) : '–'}</p>
      <p class="estimate">{at ? `Places are drawn on ${formatDayTime(at)}.` : 'Places are drawn when the sale begins.'}{minutes !== null && minutes > 0 ? ` That is in ${plural(minutes, 'minute')}.` : ''}</p>
      {place.joined !== null && place.joined > 0 && <p class="t3 small">{countWord(place.joined)} {place.joined === 1 ? 'person has' : 'people have'} joined. Coming earlier is no advantage.</p>}
    </>
  );
}

/** From where the buyer joined to the door: dots, the way that is left in blue. */
function Track({ done }: { done: number }): JSX.Element {
  const at = 14 + done * 250;
  return (
    <svg class="track" viewBox="0 0 316 44" role="img" aria-label={`${Math.round(done * 100)} per cent of the way`}>
      {Array.from({ length: DOTS }, (_, i) => {
        const x = 6 + (i * 280) / (DOTS - 1);
        return Math.abs(x - at) < 13 ? null : <circle cx={x} cy={30} r={1.9} class={x < at ? 'past' : 'ahead'} />;
      })}
      <g transform={`translate(${at} 30)`}>
        <rect x={-9} y={-9} width={18} height={18} rx={5} class="me" />
        <circle r={3} class="eye" />
        <text y={-15} class="you">You</text>
      </g>
      <path d="M297 20h-5v20h5M307 20h5v20h-5" class="door" />
    </svg>
  );
}

const STEPS = ['Joined', 'In line', 'Your turn', 'Seats held'];

function Steps({ step }: { step: number }): JSX.Element {
  return (
    <ol class="steps">
      {STEPS.map((name, index) => {
        const state = index + 1 < step ? 'past' : index + 1 === step ? 'here' : '';
        return (
          <li class={state} aria-current={state === 'here' ? 'step' : undefined}>
            <span>{state === 'past' ? <Icon name="check" size={12} /> : index + 1}</span>
            {name}
          </li>
        );
      })}
    </ol>
  );
}

function House({ sale }: { sale: Sale }): JSX.Element {
  const event = sale.event.value!;
  const scene = sale.scene.value;
  const counts = sale.house.counts.value;
  const sections = event.sections ?? [];
  const tiers = tiersOf(sections);
  const free = sale.house.isKnown.value ? sale.house.all.value.free : (event.available_seats ?? null);
  const isCoarse = isCoarseOf(event);
  return (
    <section class="card">
      <div class="row">
        <h2 class="grow">{isCoarse ? leftWord(free ?? event.total_seats, event.total_seats) : `${formatNumber(free)} of ${formatNumber(event.total_seats)} seats free`}</h2>
        <span class="t3 small">{sale.feed.connection.value === 'live' ? 'now' : 'a moment ago'}</span>
      </div>
      <div class="row house">
        {scene && <SmallHouse scene={scene} width={122} height={104} />}
        <ul class="grow">
          {sections.slice(0, 6).map((section, index) => (
            <li class="row">
              <i class={`dot tier${tiers[index]}`} />
              <span class="grow cut t2">{section.name}</span>
              <b>{isCoarse && counts[index] ? leftWord(counts[index].free, section.total_seats) : formatNumber(counts[index]?.free)}</b>
            </li>
          ))}
          {sections.length > 6 && <li class="t3 small">and {plural(sections.length - 6, 'section')} more</li>}
        </ul>
      </div>
    </section>
  );
}
