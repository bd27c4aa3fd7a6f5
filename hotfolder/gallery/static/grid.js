// A grid of square cells, of which only those on the screen are in the document, however many there are: of images, or
// of dropped files that wait or have failed.
import {getJson} from "./api.js";
import {clearFile, paintFile} from "./filecell.js";
import {KEEP, REJECT} from "./store.js";

const AHEAD = 2;  // rows above and below the screen
const SETTLED = 90;  // ms without scrolling after which pictures are fetched
const NAMES = 200;

export class Grid extends EventTarget {
  constructor(store) {
    super();
    this.store = store;
    this.box = document.getElementById("grid");
    this.rows = document.getElementById("rows");
    this.order = new Uint32Array(0);
    this.places = new Map();
    this.focus = null;
    this.selected = new Set();
    this.anchor = null;
    this.flipped = new Map();  // id -> what a threshold would make of it
    this.cells = new Map();  // index -> cell
    this.free = [];
    this.names = new Map();
    this.showsFiles = false;
    this.files = new Map();  // id -> what is known of a dropped file
    this.side = Number(localStorage.getItem("side")) || (innerWidth < 600 ? 110 : 180);
    this.scrolledAt = 0;
    this.box.addEventListener("scroll", () => { this.scrolledAt = performance.now(); this.draw(); this.settle(); }, {passive: true});
    new ResizeObserver(() => this.layout()).observe(this.box);
    this.box.addEventListener("click", (event) => this.clicked(event));
    this.box.addEventListener("dblclick", (event) => {
      const id = this.idAt(event);
      if (id !== null) this.dispatchEvent(new CustomEvent("open", {detail: id}));
    });
    store.addEventListener("change", (event) => {
      if (this.showsFiles) return;
      for (const id of event.detail.ids) this.repaint(id);
      for (const id of event.detail.gone) this.repaint(id);
    });
  }

  setOrder(order, showsFiles = false) {
    if (showsFiles !== this.showsFiles) {
      this.showsFiles = showsFiles;
      this.selected.clear();
      this.anchor = this.focus = null;
      this.box.setAttribute("aria-label", showsFiles ? "Files" : "Pictures");
    }
    this.order = order;
    this.places = new Map();
    for (let index = 0; index < order.length; index += 1) this.places.set(order[index], index);
    for (const id of this.selected) if (!this.places.has(id)) this.selected.delete(id);
    if (this.focus === null || !this.places.has(this.focus)) this.focus = order.length ? order[0] : null;
    this.layout(true);
    this.dispatchEvent(new Event("selection"));
  }

  setSide(side) {
    this.side = side;
    localStorage.setItem("side", side);
    this.layout();
    if (this.focus !== null) this.reveal(this.focus);
  }

  layout(again = false) {
    const width = this.box.clientWidth - 8;
    const columns = Math.max(1, Math.floor(width / this.side));
    const cell = Math.floor(width / columns);
    if (!again && columns === this.columns && cell === this.cell && this.height === this.box.clientHeight) return;
    const first = this.columns ? Math.floor(this.box.scrollTop / this.cell) * this.columns : 0;
    const keepsPlace = !again && this.cell && (columns !== this.columns || cell !== this.cell);
    this.columns = columns;
    this.cell = cell;
    this.height = this.box.clientHeight;
    this.rows.style.height = `${Math.ceil(this.order.length / columns) * cell}px`;
    if (keepsPlace) this.box.scrollTop = Math.floor(first / columns) * cell;
    for (const [index, node] of this.cells) this.release(index, node);
    this.draw();
    this.settle();
  }

  draw() {
    if (!this.cell) return;
    const first = Math.max(0, (Math.floor(this.box.scrollTop / this.cell) - AHEAD) * this.columns);
    const last = Math.min(this.order.length, (Math.ceil((this.box.scrollTop + this.height) / this.cell) + AHEAD) * this.columns);
    for (const [index, node] of this.cells) if (index < first || index >= last) this.release(index, node);
    const isQuick = performance.now() - this.scrolledAt < SETTLED;
    for (let index = first; index < last; index += 1) {
      if (!this.cells.has(index)) this.place(index, !isQuick);
    }
  }

  settle() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      for (const node of this.cells.values()) this.fetch(node);
      this.name();
    }, SETTLED);
  }

  release(index, node) {
    this.cells.delete(index);
    node.picture.removeAttribute("src");  // what is not wanted any more is not fetched
    node.remove();
    if (this.free.length < 60) this.free.push(node);
  }

  place(index, fetches) {
    const node = this.free.pop() || newCell();
    const id = this.order[index];
    node.image = id;
    node.id = `cell-${id}`;
    node.setAttribute("aria-posinset", index + 1);
    node.setAttribute("aria-setsize", this.order.length);
    node.style.transform = `translate(${(index % this.columns) * this.cell}px, ${Math.floor(index / this.columns) * this.cell}px)`;
    node.style.width = node.style.height = `${this.cell}px`;
    node.picture.classList.remove("there", "bad");
    this.cells.set(index, node);
    this.paint(node);
    if (fetches) this.fetch(node);
    this.rows.append(node);
  }

  fetch(node) {
    const image = this.showsFiles ? this.files.get(node.image)?.image_id ?? null : node.image;
    if (this.showsFiles && (image === null || !this.store.has(image))) {
      node.picture.removeAttribute("src");
      node.picture.classList.remove("there", "bad");
      return;
    }
    const address = this.store.address(image, 256);
    if (node.picture.getAttribute("src") !== address) node.picture.src = address;
  }

  repaint(id) {
    const node = this.cells.get(this.places.get(id));
    if (node) this.paint(node);
  }

  paint(node) {
    node.classList.toggle("focus", node.image === this.focus);
    node.classList.toggle("selected", this.selected.has(node.image));
    node.setAttribute("aria-selected", this.selected.has(node.image));
    if (this.showsFiles) { paintFile(node, this.files.get(node.image)); return; }
    clearFile(node);
    const id = node.image, store = this.store, known = this.names.get(id);
    node.title = known ? [known.path, known.prompt].filter(Boolean).join("\n") : "";
    const pending = store.pending.get(id), verdict = pending || store.verdict(id), score = store.score(id);
    const kind = store.gone.has(id) ? "gone" : verdict === KEEP ? "keep" : verdict === REJECT ? "reject" : store.isUpscaled(id) ? "upscaled" : "none";
    node.dataset.kind = kind;
    const flip = this.flipped.get(id);
    node.dataset.flip = flip || "";
    const isPending = store.isPending(id), stars = store.starsOf(id);
    node.classList.toggle("pending", isPending);
    node.score.textContent = Number.isNaN(score) || score === undefined ? "–" : score.toFixed(2);
    node.mark.textContent = {keep: "✓", reject: "✕", upscaled: "⤢", gone: "∅", none: "·"}[kind];
    node.stars.textContent = stars === null ? "" : `★${stars}`;
    node.who.textContent = isPending ? "…" : store.isMine(id) ? "●" : "";
    node.flip.textContent = flip ? (flip === "keep" ? "→ keep" : "→ reject") : "";
    // What is seen comes first, word by word: people who speak to their machine say what they see.
    const seen = [node.flip, node.mark, node.score, node.stars, node.who].map((part) => part.textContent).filter(Boolean).join(" ");
    node.setAttribute("aria-label", `${seen}, ${this.words(id, kind)}`);
  }

  words(id, kind) {
    const score = this.store.score(id), known = this.names.get(id);
    const told = {keep: "kept", reject: "rejected", upscaled: "enlarged", gone: "gone", none: "no verdict"}[kind];
    const parts = [known ? known.path : `picture ${id}`, Number.isNaN(score) ? "no score" : `score ${score?.toFixed(2)}`, told];
    const stars = this.store.starsOf(id);
    if (stars !== null) parts.push(`${stars} star${stars === 1 ? "" : "s"} of yours`);
    if (this.store.isPending(id)) parts.push("not carried out yet");
    else if (this.store.isMine(id)) parts.push("by you");
    return parts.join(", ");
  }

  // Names of what is on the screen, for who hears the page, and for the tip.
  async name() {
    if (this.showsFiles) { this.ask(false); return; }
    const wanted = [...this.cells.values()].map((node) => node.image).filter((id) => !this.names.has(id)).slice(0, NAMES);
    if (!wanted.length) return;
    try {
      const {images} = await getJson(`/api/names?ids=${wanted.join(",")}`);
      if (this.names.size > 5000) this.names.clear();
      for (const image of images) this.names.set(image.id, image);
      this.paintAll();
    } catch { /* the names are a help, and no more */ }
  }

  // What is known of the files on the screen, and with `again` how that is now.
  async ask(again) {
    const wanted = [...this.cells.values()].map((node) => node.image).filter((id) => again || !this.files.has(id)).slice(0, NAMES);
    if (!wanted.length || !this.showsFiles) return;
    try {
      const {files} = await getJson(`/api/files?ids=${wanted.join(",")}`);
      if (this.files.size > 5000) this.files.clear();
      for (const file of files) this.files.set(file.id, file);
      if (!this.showsFiles) return;
      for (const node of this.cells.values()) {
        this.paint(node);
        this.fetch(node);
      }
    } catch { /* it is asked again */ }
  }

  idAt(event) {
    const node = event.target.closest(".cell");
    return node ? node.image : null;
  }

  clicked(event) {
    const id = this.idAt(event);
    if (id === null) return;
    if (event.shiftKey && this.anchor !== null && this.places.has(this.anchor)) {
      const [from, to] = [this.places.get(this.anchor), this.places.get(id)].sort((a, b) => a - b);
      for (let index = from; index <= to; index += 1) this.selected.add(this.order[index]);
    } else if (event.ctrlKey || event.metaKey) {
      if (!this.selected.delete(id)) this.selected.add(id);
      this.anchor = id;
    } else {
      if (event.pointerType === "touch" || matchMedia("(pointer: coarse)").matches) this.dispatchEvent(new CustomEvent("open", {detail: id}));
      this.selected.clear();
      this.anchor = id;
    }
    this.setFocus(id);
    this.paintAll();
    this.dispatchEvent(new Event("selection"));
  }

  selectAll() {
    for (const id of this.order) this.selected.add(id);
    this.paintAll();
    this.dispatchEvent(new Event("selection"));
  }

  // Of these; of others that were selected while an answer was waited for, it is left.
  clearSelection(ids = this.selected) {
    for (const id of ids) this.selected.delete(id);
    this.paintAll();
    this.dispatchEvent(new Event("selection"));
  }

  paintAll() { for (const node of this.cells.values()) this.paint(node); }

  setFocus(id) {
    const before = this.focus;
    this.focus = id;
    if (before !== null) this.repaint(before);
    if (id === null) return;
    this.reveal(id);
    this.repaint(id);
    this.box.setAttribute("aria-activedescendant", `cell-${id}`);
    this.dispatchEvent(new CustomEvent("focus-moved", {detail: id}));
  }

  reveal(id) {
    const index = this.places.get(id);
    if (index === undefined || !this.cell) return;
    const top = Math.floor(index / this.columns) * this.cell;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + this.cell > this.box.scrollTop + this.height) this.box.scrollTop = top + this.cell - this.height;
    this.draw();
  }

  // The id so many places on from one; the last one there is where it ends.
  at(id, step) {
    const index = this.places.get(id);
    if (index === undefined) return this.order.length ? this.order[0] : null;
    return this.order[Math.max(0, Math.min(this.order.length - 1, index + step))];
  }

  move(step) {
    if (this.order.length) this.setFocus(this.focus === null ? this.order[0] : this.at(this.focus, step));
  }
}

function newCell() {
  const node = document.createElement("div");
  node.className = "cell";
  node.setAttribute("role", "option");
  const part = (name, kind = "span") => {
    const found = document.createElement(kind);
    found.className = name;
    node.append(found);
    return found;
  };
  node.picture = part("picture", "img");
  node.picture.alt = "";
  node.picture.decoding = "async";
  node.picture.draggable = false;
  node.picture.addEventListener("load", () => node.picture.classList.add("there"));
  node.picture.addEventListener("error", () => node.picture.classList.add("bad"));
  node.flip = part("flip");
  node.about = part("about");
  const foot = part("foot");
  node.mark = document.createElement("span");
  node.score = document.createElement("span");
  node.stars = document.createElement("span");
  node.who = document.createElement("span");
  node.mark.className = "mark";
  node.score.className = "score";
  node.stars.className = "stars";
  node.who.className = "who";
  foot.append(node.mark, node.score, node.stars, node.who);
  return node;
}
