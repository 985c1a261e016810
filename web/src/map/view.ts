import { between, clamp, fit, toScreen, toWorld, zoomAt, type Camera, type Insets, type Size } from './camera';
import { paintBackdrop } from './backdrop';
import { paintOverlay } from './overlay';
import { readPalette, type Palette } from './palette';
import { hit } from './plan';
import { detailOf, eachVisible, paintDirty, paintSeats, type Frame, type Scene } from './scene';
import { Sprites } from './sprites';

const DPR_MAX = 2;
/** More seats than these are not drawn anew in each frame of a movement: the picture is moved. */
const SEATS_EACH_FRAME = 4000;
const REDRAW_MS = 80;
const CAMERA_MS = 320;

/** The map on the screen: three canvases, a camera, and what has to be drawn again. */
export class MapView {
  camera: Camera = { x: 0, y: 0, pitch: 1 };
  fitted: Camera = { x: 0, y: 0, pitch: 1 };
  size: Size = { width: 0, height: 0 };
  /** Hears of each movement, and of each frame drawn. */
  onCamera: (() => void) | undefined;
  private insets: Insets = { top: 0, right: 0, bottom: 0, left: 0 };
  private drawn: Camera | undefined;
  private palette: Palette;
  private sprites: Sprites | undefined;
  private readonly layers: HTMLCanvasElement[];
  private readonly contexts: CanvasRenderingContext2D[];
  private frame = 0;
  private later: ReturnType<typeof setTimeout> | undefined;
  private needs = { backdrop: false, seats: false, overlay: false };
  private dirty = new Set<number>();
  private readonly observer: ResizeObserver;
  private readonly unfollow: () => void;
  private animation = 0;
  private readonly onTheme = (): void => {
    this.palette = readPalette();
    this.sprites = undefined;
    this.redraw();
  };
  private readonly media = matchMedia('(prefers-color-scheme: dark)');

  constructor(
    private readonly host: HTMLElement,
    readonly scene: Scene,
  ) {
    this.palette = readPalette();
    this.layers = ['backdrop', 'seats', 'overlay'].map((name) => {
      const canvas = document.createElement('canvas');
      canvas.className = `layer ${name}`;
      host.append(canvas);
      return canvas;
    });
    this.contexts = this.layers.map((layer) => {
      const context = layer.getContext('2d');
      if (!context) throw new Error('No canvas');
      return context;
    });
    this.observer = new ResizeObserver((entries) => {
      const box = entries[entries.length - 1]?.contentRect;
      if (box) this.resize(box.width, box.height);
    });
    this.observer.observe(host);
    window.addEventListener('themechange', this.onTheme);
    this.media.addEventListener('change', this.onTheme);
    scene.house.painters.add(this.seatsChanged);
    this.unfollow = scene.house.counts.subscribe(this.countsChanged);
  }

  destroy(): void {
    this.observer.disconnect();
    window.removeEventListener('themechange', this.onTheme);
    this.media.removeEventListener('change', this.onTheme);
    cancelAnimationFrame(this.frame);
    cancelAnimationFrame(this.animation);
    clearTimeout(this.later);
    this.scene.house.painters.delete(this.seatsChanged);
    this.unfollow();
    for (const layer of this.layers) layer.remove();
  }

  setInsets(insets: Insets): void {
    this.insets = insets;
    this.resize(this.size.width, this.size.height);
  }

  private get scale(): number {
    return Math.min(DPR_MAX, window.devicePixelRatio || 1);
  }

  private resize(width: number, height: number): void {
    if (!width || !height) return;
    const wasFitted = this.isFitted;
    this.size = { width, height };
    this.fitted = fit(this.scene.plan, this.size, this.insets);
    this.camera = wasFitted ? { ...this.fitted } : clamp(this.camera, this.fitted, this.scene.plan);
    for (const layer of this.layers) {
      layer.width = Math.round(width * this.scale);
      layer.height = Math.round(height * this.scale);
      layer.style.width = `${width}px`;
      layer.style.height = `${height}px`;
    }
    this.redraw();
    // The first picture does not wait for another frame.
    if (!this.drawn) this.draw();
    this.onCamera?.();
  }

  get isFitted(): boolean {
    return this.camera.pitch <= this.fitted.pitch * 1.01;
  }

  get zoom(): number {
    return this.camera.pitch / this.fitted.pitch;
  }

  // -- Camera ------------------------------------------------------------------------------------

  setCamera(camera: Camera): void {
    this.camera = clamp(camera, this.fitted, this.scene.plan);
    this.moved();
  }

  /** Moves there in a third of a second, or at once where movement is not wanted. */
  flyTo(target: Camera): void {
    cancelAnimationFrame(this.animation);
    const to = clamp(target, this.fitted, this.scene.plan);
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) return this.setCamera(to);
    const from = this.camera;
    const began = performance.now();
    const step = (time: number) => {
      const share = Math.min(1, Math.max(0, (time - began) / CAMERA_MS));
      this.setCamera(share < 1 ? between(from, to, share) : to);
      if (share < 1) this.animation = requestAnimationFrame(step);
    };
    this.animation = requestAnimationFrame(step);
  }

  panBy(dx: number, dy: number): void {
    cancelAnimationFrame(this.animation);
    this.setCamera({ ...this.camera, x: this.camera.x - dx / this.camera.pitch, y: this.camera.y - dy / this.camera.pitch });
  }

  zoomAt(x: number, y: number, factor: number): void {
    cancelAnimationFrame(this.animation);
    this.setCamera(zoomAt(this.camera, this.size, { x, y }, this.camera.pitch * factor));
  }

  zoomBy(factor: number): void {
    const { left, right, top, bottom } = this.insets;
    const at = { x: (this.size.width + left - right) / 2, y: (this.size.height + top - bottom) / 2 };
    this.flyTo(zoomAt(this.camera, this.size, at, this.camera.pitch * factor));
  }

  fit(): void {
    this.flyTo(this.fitted);
  }

  /** Shows one section as large as it fits. */
  showSection(section: number): void {
    const area = this.scene.plan.areas[section];
    if (!area) return;
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i <= 24; i++) {
      const angle = area.from + ((area.to - area.from) * i) / 24;
      for (const radius of [area.inner - 1.5, area.outer + 0.5]) {
        left = Math.min(left, radius * Math.sin(angle));
        right = Math.max(right, radius * Math.sin(angle));
        top = Math.min(top, radius * Math.cos(angle));
        bottom = Math.max(bottom, radius * Math.cos(angle));
      }
    }
    const plan = { ...this.scene.plan, bounds: { left: left - 1, right: right + 1, top, bottom } };
    this.flyTo(fit(plan, this.size, this.insets));
  }

  /** Brings a seat into view, at least as large as `pitch`. */
  showSeat(seat: number, pitch = 0): void {
    const at = this.screenOf(seat);
    const { left, right, top, bottom } = this.insets;
    const margin = 48;
    const inView = at.x > left + margin && at.y > top + margin && at.x < this.size.width - right - margin && at.y < this.size.height - bottom - margin;
    const target = Math.max(this.camera.pitch, pitch);
    if (inView && target <= this.camera.pitch) return;
    this.flyTo({
      pitch: target,
      x: this.scene.plan.x[seat]! + (right - left) / 2 / target,
      y: this.scene.plan.y[seat]! + (bottom - top) / 2 / target,
    });
  }

  screenOf(seat: number): { x: number; y: number } {
    return toScreen(this.camera, this.size, this.scene.plan.x[seat]!, this.scene.plan.y[seat]!);
  }

  worldAt(x: number, y: number): { x: number; y: number } {
    return toWorld(this.camera, this.size, x, y);
  }

  hitAt(x: number, y: number): ReturnType<typeof hit> {
    const world = this.worldAt(x, y);
    return hit(this.scene.plan, world.x, world.y);
  }

  // -- Drawing -----------------------------------------------------------------------------------

  redraw(): void {
    this.needs = { backdrop: true, seats: true, overlay: true };
    this.schedule();
  }

  redrawOverlay(): void {
    this.needs.overlay = true;
    this.schedule();
  }

  /** Draws some seats anew. */
  touch(seats: Iterable<number>): void {
    for (const seat of seats) this.dirty.add(seat);
    this.needs.overlay = true;
    this.schedule();
  }

  private readonly seatsChanged = (dirty: Set<number> | null): void => {
    if (dirty === null) return this.redraw();
    this.touch(dirty);
  };

  /** Shapes of sections show counts. */
  private readonly countsChanged = (): void => {
    const { plan, house } = this.scene;
    if (!plan.areas.some((area) => area.isPanel) && detailOf(this.camera.pitch, house.total) !== 'wedges') return;
    this.needs.backdrop = true;
    this.schedule();
  };

  private moved(): void {
    if (this.drawn && this.visibleSeats() > SEATS_EACH_FRAME) {
      this.slide(this.drawn);
      clearTimeout(this.later);
      this.later = setTimeout(() => this.redraw(), REDRAW_MS);
    } else this.redraw();
    this.onCamera?.();
  }

  private visibleSeats(): number {
    if (this.scene.house.total <= SEATS_EACH_FRAME) return 0;
    let count = 0;
    eachVisible(this.scene.plan, this.camera, this.size, () => count++);
    return count;
  }

  /** Moves the picture that is there. */
  private slide(drawn: Camera): void {
    const scale = this.camera.pitch / drawn.pitch;
    const x = (drawn.x - this.camera.x) * this.camera.pitch;
    const y = (drawn.y - this.camera.y) * this.camera.pitch;
    this.host.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  }

  private schedule(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  private draw(): void {
    if (!this.size.width) return;
    const pitch = this.camera.pitch * this.scale;
    if (!this.sprites || Math.abs(this.sprites.pitch - pitch) > 0.01) this.sprites = new Sprites(pitch, this.palette);
    const { needs, dirty } = this;
    const isMoved = !this.drawn || this.drawn.x !== this.camera.x || this.drawn.y !== this.camera.y || this.drawn.pitch !== this.camera.pitch;
    // While the picture is being moved, what changed is drawn with the whole.
    if (isMoved && !needs.seats && this.drawn) return;
    this.needs = { backdrop: false, seats: false, overlay: false };
    this.dirty = new Set();
    const frame = (layer: number): Frame => ({
      ctx: this.contexts[layer]!,
      size: this.size,
      camera: this.camera,
      scale: this.scale,
      palette: this.palette,
      sprites: this.sprites!,
    });
    if (needs.backdrop) paintBackdrop(frame(0), this.scene);
    if (needs.seats) paintSeats(frame(1), this.scene);
    else if (dirty.size) paintDirty(frame(1), this.scene, dirty);
    if (needs.overlay || needs.seats) paintOverlay(frame(2), this.scene);
    if (needs.seats) {
      if (!this.drawn && this.scene.house.isKnown.value) performance.mark('map-drawn');
      this.drawn = { ...this.camera };
      this.host.style.transform = '';
    }
  }
}
