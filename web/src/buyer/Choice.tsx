import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { formatDuration, formatMoney, formatNumber, formatPriceShort, plural } from '../base/format';
import { Icon } from '../base/icons';
import { Button, Segmented, Stepper } from '../base/ui';
import { seatLabel, seatPlace } from '../map/names';
import { tiersOf } from '../map/tiers';
import { hold } from './hold';
import { isCoarse, leftWord } from './left';
import { Notice, OwnBookings } from './parts';
import type { Sale } from './sale';

/** The panel while seats are being chosen. */
export function Choice({ sale, onSection }: { sale: Sale; onSection: (section: number) => void }): JSX.Element {
  const isBest = sale.mode.value === 'best';
  return (
    <>
      <div class="panel-scroll">
        {sale.isSeated.value && (
          <Segmented
            label="How to choose"
            value={sale.mode.value}
            options={[
              { value: 'map', label: 'Choose on the map' },
              { value: 'best', label: 'Best available' },
            ]}
            onChange={(mode) => {
              sale.mode.value = mode;
              if (mode === 'best') sale.setChosen([]);
            }}
          />
        )}
        {isBest ? <Best sale={sale} /> : <Sections sale={sale} onSection={onSection} />}
        {!isBest && <Chosen sale={sale} />}
        <OwnBookings sale={sale} />
      </div>
      <Foot sale={sale} />
    </>
  );
}

/** Sections with price and what is left. */
export function Sections({ sale, onSection }: { sale: Sale; onSection: (section: number) => void }): JSX.Element {
  const event = sale.event.value!;
  const sections = event.sections ?? [];
  const tiers = tiersOf(sections);
  const counts = sale.house?.counts.value ?? [];
  const hidesCounts = isCoarse(event);
  return (
    <ul class="sections" aria-label="Sections">
      {sections.map((section, index) => {
        const count = counts[index];
        const share = (value: number) => `${(100 * value) / section.total_seats}%`;
        const left = !count ? '–' : hidesCounts ? leftWord(count.free, section.total_seats) : `${formatNumber(count.free)} of ${formatNumber(section.total_seats)} free`;
        const isFew = count && !hidesCounts && count.free > 0 && count.free <= section.total_seats / 10;
        return (
          <li>
            <button type="button" class="section" onClick={() => onSection(index)} title="Show on the map">
              <span class="row">
                <i class={`dot tier${tiers[index]}`} />
                <span class="section-name cut">{section.name}</span>
                {isFew && <span class="badge warn">Few left</span>}
                {count && count.free === 0 && !hidesCounts && <span class="badge">{count.held ? 'All held' : 'Sold out'}</span>}
                <span class="grow" />
                <span>{formatMoney(section.price, event.currency)}</span>
              </span>
              {!hidesCounts && (
                <span class="meter">
                  <i class={`fill tier${tiers[index]}`} style={{ width: share(count?.free ?? 0) }} />
                  <i class="held" style={{ width: share(count?.held ?? 0) }} />
                </span>
              )}
              <span class="row small t3">
                <span class="grow">{left}</span>
                {count && count.held > 0 && !hidesCounts && <span>{formatNumber(count.held)} held, may come back</span>}
              </span>
            </button>
            {section.general_admission && <GeneralChoice sale={sale} index={index} />}
          </li>
        );
      })}
    </ul>
  );
}

function GeneralChoice({ sale, index }: { sale: Sale; index: number }): JSX.Element {
  const general = sale.general.value;
  const quantity = general?.section === index ? general.quantity : 0;
  const name = sale.event.value?.sections?.[index]?.name ?? '';
  const free = sale.house.counts.value[index]?.free ?? 0;
  return (
    <div class="row general">
      <span class="grow t2">Places</span>
      <Stepper label={`Places in ${name}`} value={quantity} min={0} max={Math.min(sale.seatsMax, free)} onChange={(value) => sale.chooseGeneral(index, value)} />
    </div>
  );
}

function Chosen({ sale }: { sale: Sale }): JSX.Element {
  const event = sale.event.value!;
  const scene = sale.scene.value;
  const chosen = sale.chosen.value;
  void sale.names.value;
  return (
    <section class="chosen" aria-label="Your choice">
      <div class="row head">
        <h2 class="grow">Your choice</h2>
        <span class="t3 small">at most {plural(sale.seatsMax, 'seat')}</span>
      </div>
      {!chosen.length && !sale.general.value && <p class="t3 hint">Choose free seats on the map.</p>}
      {sale.general.value && (
        <div class="row pick">
          <span class="badge ink">{sale.general.value.quantity}</span>
          <span class="grow cut">{event.sections?.[sale.general.value.section]?.name}, no numbered seats</span>
          <span class="price">{formatMoney((event.sections?.[sale.general.value.section]?.price ?? 0) * sale.general.value.quantity, event.currency)}</span>
          <button type="button" class="btn plain icon small" aria-label="Remove these places" onClick={() => sale.chooseGeneral(0, 0)}>
            <Icon name="close" size={14} />
          </button>
        </div>
      )}
      {scene &&
        chosen.map((seat) => {
          const isTaken = sale.taken.value.has(seat);
          const price = formatMoney(sale.house.priceOf(seat), event.currency);
          return (
            <div class={`row pick ${isTaken ? 'is-taken' : ''}`}>
              <span class={`badge ${isTaken ? 'bad' : 'ink'}`}>{seatLabel(scene, seat)}</span>
              <span class="grow cut">{isTaken ? 'Taken by another buyer' : seatPlace(scene, seat)}</span>
              <span class="price">{price}</span>
              <button type="button" class="btn plain icon small" aria-label={`Remove ${seatLabel(scene, seat)}`} onClick={() => sale.toggle(seat)}>
                <Icon name="close" size={14} />
              </button>
            </div>
          );
        })}
    </section>
  );
}

function Best({ sale }: { sale: Sale }): JSX.Element {
  const event = sale.event.value!;
  const best = sale.best.value;
  const prices = [...new Set((event.sections ?? []).map((section) => section.price))].sort((a, b) => b - a);
  const set = (change: Partial<typeof best>) => (sale.best.value = { ...best, ...change });
  return (
    <div class="best">
      <div class="row">
        <span class="grow">How many</span>
        <Stepper label="How many seats" value={Math.min(best.quantity, Math.max(1, sale.seatsMax))} min={1} max={Math.max(1, sale.seatsMax)} onChange={(quantity) => set({ quantity })} />
      </div>
      <label class="row">
        <span class="grow">Together</span>
        <span class="check"><input type="checkbox" checked={best.together} onChange={(change) => set({ together: change.currentTarget.checked })} /></span>
      </label>
      <label class="row">
        <span class="grow">Highest price</span>
        <select class="input narrow" value={best.maxPrice ?? ''} onChange={(change) => set({ maxPrice: change.currentTarget.value ? Number(change.currentTarget.value) : null })}>
          <option value="">Any price</option>
          {prices.slice(1).map((price) => (
            <option value={price}>{formatPriceShort(price, event.currency)}</option>
          ))}
        </select>
      </label>
      <p class="t3 small">The first section in the list that has {best.quantity === 1 ? 'a seat' : `${best.quantity} seats`}{best.together && best.quantity > 1 ? ' side by side' : ''} gives them.</p>
    </div>
  );
}

/** The sum and the one button. */
function Foot({ sale }: { sale: Sale }): JSX.Element {
  const event = sale.event.value!;
  const request = sale.request.value;
  const general = sale.general.value;
  const seats = request?.seat_ids ?? [];
  const quantity = request?.quantity ?? seats.length;
  const sum = general ? (event.sections?.[general.section]?.price ?? 0) * general.quantity : seats.reduce((total, seat) => total + sale.house.priceOf(seat), 0);
  const isOnSale = event.status === 'ON_SALE';
  const isBest = sale.mode.value === 'best' && !general;
  const noun = general ? (quantity === 1 ? 'place' : 'places') : quantity === 1 ? 'seat' : 'seats';
  const isBusy = sale.busy.value === 'hold';
  useEffect(() => {
    if (isBest && sale.best.value.quantity > sale.seatsMax) sale.best.value = { ...sale.best.value, quantity: Math.max(1, sale.seatsMax) };
  });
  return (
    <div class="panel-foot">
      <Notice sale={sale} />
      {quantity > 0 && !isBest && (
        <div class="row total">
          <span class="grow t2">{plural(quantity, noun.replace(/s$/, ''))}</span>
          <b class="sum">{formatMoney(sum, event.currency)}</b>
        </div>
      )}
      <Button kind="primary wide" id="hold" busy={isBusy} disabled={!request || !isOnSale || sale.seatsMax < 1} onClick={() => void hold(sale)}>
        {quantity ? `${isBest ? 'Find and hold' : 'Hold'} ${quantity} ${noun}` : 'Hold seats'}
      </Button>
      <p class="t3 small centre">
        {isOnSale ? `Yours for ${formatDuration(event.hold_ttl_seconds)}. Nothing is charged until you pay.` : 'Seats cannot be held now.'}
      </p>
    </div>
  );
}
