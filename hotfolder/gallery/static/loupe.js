// Pictures large: one, or up to four in step; before and after enlarging with a slider between.
import {getJson} from "./api.js";
import {Pane} from "./pane.js";

const SWIPE = 70;  // pixels
const LOOKED = 400;  // ms that count as a look

export class Loupe {
  constructor(store, grid, looks) {
    this.store = store;
    this.grid = grid;
    this.looks = looks;
    this.box = document.getElementById("loupe");
    this.holder = document.getElementById("panes");
    this.caption = document.getElementById("caption");
    this.beforeButton = document.getElementById("show-before");
    this.panes = [];
    this.active = 0;
    this.kept = [];  // pictures fetched ahead
    this.pointer = {x: 0, y: 0};
    this.isAlone = false;
    this.holder.addEventListener("pointermove", (event) => { this.pointer = {x: event.clientX, y: event.clientY}; this.isAlone = event.altKey; });
    this.holder.addEventListener("pointerdown", (event) => {
      const number = this.panes.findIndex((pane) => pane.box.contains(event.target));
      if (number >= 0) this.activate(number);
    });
    this.holder.addEventListener("dblclick", () => this.zoom());
    this.holder.addEventListener("wheel", (event) => {
      if (this.isOpen && !this.isZoomed && !this.slider && event.deltaY < 0) this.zoom();
    }, {passive: true});
    this.swipes();
    store.addEventListener("change", (event) => { if (this.isOpen && event.detail.ids.includes(this.id)) this.tell(); });
    addEventListener("pagehide", () => this.left());
  }

  get isOpen() { return !this.box.hidden; }
  get id() { return this.panes[this.active]?.id ?? null; }
  get isZoomed() { return this.panes.some((pane) => pane.isZoomed); }

  open(id) {
    if (id === null) return;
    if (!this.isOpen) {
      this.box.hidden = false;
      document.body.classList.add("large");
      this.count(1);
    }
    this.show(id);
    this.box.querySelector("#close").focus({preventScroll: true});
    document.activeElement?.blur();
  }

  close() {
    this.left();
    this.endSlider();
    for (const pane of this.panes) pane.fit();
    this.panes = [];
    this.holder.replaceChildren();
    this.box.hidden = true;
    document.body.classList.remove("large");
    this.grid.box.focus({preventScroll: true});
  }

  // So many panes; new ones show what comes next.
  count(wanted) {
    while (this.panes.length > wanted) this.panes.pop().box.remove();
    while (this.panes.length < wanted) {
      const pane = new Pane(this.store, (moved) => this.inStep(moved));
      const last = this.panes.at(-1)?.id ?? null;
      this.panes.push(pane);
      this.holder.append(pane.box);
      if (last !== null) pane.show(this.free(last, 1) ?? last, "");
    }
    this.holder.dataset.count = wanted;
    this.activate(Math.min(this.active, wanted - 1));
  }

  activate(number) {
    if (number !== this.active) this.left();
    this.active = Math.max(0, number);
    this.panes.forEach((pane, at) => pane.box.classList.toggle("active", at === this.active && this.panes.length > 1));
    if (this.id !== null) {
      this.grid.setFocus(this.id);
      this.came();
      this.tell();
    }
  }

  // The next one that no other pane shows.
  free(id, step) {
    const shown = new Set(this.panes.map((pane) => pane.id));
    let found = id;
    for (let tries = 0; tries <= this.panes.length; tries += 1) {
      const next = this.grid.at(found, step);
      if (next === found || next === null) return null;
      found = next;
      if (!shown.has(found)) return found;
    }
    return null;
  }

  show(id) {
    this.left();
    this.endSlider();
    this.panes[this.active].show(id, this.grid.words(id, ["none", "keep", "reject"][this.store.verdict(id)]));
    this.grid.setFocus(id);
    this.came();
    this.tell();
    this.prefetch(id);
    this.onShow?.(id);
  }

  next(step) {
    if (this.id === null) return;
    const id = this.panes.length > 1 ? this.free(this.id, step) : this.grid.at(this.id, step);
    if (id !== null && id !== this.id) this.show(id);
  }

  tell() {
    const id = this.id, score = this.store.score(id);
    const verdict = this.store.pending.get(id) || this.store.verdict(id);
    const mark = ["", "✓ kept", "✕ rejected"][verdict] || "";
    const stars = this.store.starsOf(id);
    for (const button of this.box.querySelectorAll(".stars button")) button.setAttribute("aria-pressed", stars !== null && Number(button.dataset.key.slice(4)) <= stars);
    const by = this.store.isPending(id) ? ", not carried out yet" : this.store.isMine(id) ? " by you" : "";
    const name = this.grid.names.get(id)?.path || "";
    const place = (this.grid.places.get(id) ?? 0) + 1;
    const parts = [
      `${place.toLocaleString("en")} of ${this.grid.order.length.toLocaleString("en")}`,
      Number.isNaN(score) || score === undefined ? "no score" : score.toFixed(2), `${mark}${by}`,
      stars > 0 ? "★".repeat(stars) : "", name,
    ];
    this.caption.textContent = parts.filter(Boolean).join("  ·  ");
    this.box.dataset.verdict = ["none", "keep", "reject"][verdict];
    if (!name) this.grid.name();
  }

  prefetch(id) {
    this.kept = [];
    for (const step of [1, 2, -1]) {
      const near = this.grid.at(id, step);
      if (near === null || near === id) continue;
      const picture = new Image();
      picture.decoding = "async";
      picture.src = this.store.address(near, 1600);
      this.kept.push(picture);
    }
  }

  zoom() {
    if (this.slider) this.endSlider();
    if (this.isZoomed) { for (const pane of this.panes) pane.fit(); return; }
    const pane = this.panes.find((each) => each.box.contains(document.elementFromPoint(this.pointer.x, this.pointer.y))) || this.panes[this.active];
    const at = pane.pointed(this.pointer.x, this.pointer.y);
    for (const each of this.panes) each.zoom(at);
  }

  inStep(moved) {
    if (this.following) return;
    this.following = true;
    for (const pane of this.panes) {
      if (pane === moved) continue;
      if (this.isAlone) moved.keepOffset(pane);
      else pane.follow(moved);
    }
    this.following = false;
  }

  // What an image was enlarged from, or was enlarged to, in the same place.
  async before() {
    if (this.slider) { this.endSlider(); return; }
    const id = this.id;
    let told;
    try { told = await getJson(`/api/images/${id}`); } catch { return; }
    if (id !== this.id) return;
    const other = told.parent_id ?? told.larger[0];
    if (other === undefined || !this.store.has(other)) { this.caption.textContent = "It was not enlarged, nor is it enlarged from another one."; return; }
    const [from, to] = told.parent_id ? [other, id] : [id, other];
    this.startSlider(from, to);
  }

  startSlider(from, to) {
    this.endSlider();  // it was asked for twice
    const box = document.createElement("div"), range = document.createElement("input"), told = document.createElement("p");
    box.className = "slider";
    const picture = (id, name) => {
      const found = document.createElement("img");
      found.src = this.store.address(id, 1600);
      found.alt = name;
      found.className = name;
      box.append(found);
      return found;
    };
    picture(from, "before");
    const after = picture(to, "after");
    range.type = "range";
    range.min = 0;
    range.max = 100;
    range.value = 50;
    range.setAttribute("aria-label", "How much is shown as it was before enlarging");
    const gain = this.store.score(to) - this.store.score(from);
    told.textContent = `before ${this.store.score(from)?.toFixed(2)}  |  after ${this.store.score(to)?.toFixed(2)}${Number.isNaN(gain) ? "" : `, gain ${gain >= 0 ? "+" : ""}${gain.toFixed(2)}`}`;
    const move = () => {
      after.style.clipPath = `inset(0 0 0 ${range.value}%)`;
      box.style.setProperty("--at", `${range.value}%`);
    };
    range.addEventListener("input", move);
    box.addEventListener("pointermove", (event) => {
      if (event.target === range || (event.pointerType === "mouse" && !event.buttons)) return;
      const place = box.getBoundingClientRect();
      range.value = Math.round(100 * (event.clientX - place.left) / place.width);
      move();
    });
    move();
    box.append(range, told);
    this.slider = box;
    this.panes[this.active].box.append(box);
    this.beforeButton.setAttribute("aria-pressed", "true");
    range.focus();
  }

  endSlider() {
    this.slider?.remove();
    this.slider = null;
    this.beforeButton.setAttribute("aria-pressed", "false");
  }

  // A picture was on the screen, and is no more: a look, if it was long enough and nothing was said of it.
  came() { this.since = {id: this.id, at: performance.now()}; }
  said() { this.since = null; }
  left() {
    const since = this.since;
    this.since = null;
    if (since === null || since === undefined || since.id === null) return;
    const milliseconds = Math.round(performance.now() - since.at);
    if (milliseconds >= LOOKED && document.visibilityState === "visible") this.looks.add(since.id, milliseconds);
  }

  swipes() {
    let start = null;
    this.holder.addEventListener("touchstart", (event) => {
      start = event.touches.length === 1 && !this.isZoomed && !this.slider ? event.touches[0] : null;
    }, {passive: true});
    this.holder.addEventListener("touchend", (event) => {
      if (!start || !event.changedTouches.length) return;
      const end = event.changedTouches[0], x = end.clientX - start.clientX, y = end.clientY - start.clientY;
      start = null;
      if (Math.abs(x) > SWIPE && Math.abs(x) > 2 * Math.abs(y)) this.onSwipe?.(x > 0 ? "keep" : "reject");
      else if (Math.abs(y) > SWIPE && Math.abs(y) > 2 * Math.abs(x)) this.next(y < 0 ? 1 : -1);
    }, {passive: true});
  }
}
