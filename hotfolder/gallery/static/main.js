// Puts the parts together.
import {Actions} from "./actions.js";
import {getBytes} from "./api.js";
import {Events} from "./events.js";
import {Filters} from "./filters.js";
import {Grid} from "./grid.js";
import {Keys, showKeys} from "./keys.js";
import {Line} from "./line.js";
import {Looks} from "./looks.js";
import {Loupe} from "./loupe.js";
import {hideSide, sideShows} from "./side.js";
import {KEEP, REJECT, Store} from "./store.js";
import {Taste} from "./taste.js";
import {Threshold} from "./threshold.js";
import {failed, many} from "./toast.js";
import {Why} from "./why.js";

const settings = JSON.parse(document.body.dataset.settings);
const byId = (id) => document.getElementById(id);
const store = new Store(), grid = new Grid(store), filters = new Filters(), actions = new Actions(store, grid);
actions.readOnly = settings.read_only;
document.body.classList.toggle("read-only", settings.read_only);
const loupe = new Loupe(store, grid, new Looks(() => !settings.read_only));
const why = new Why(actions), line = new Line(actions, settings);
why.taste = new Taste(store, actions);
const threshold = new Threshold(store, grid, actions, settings.keep, showOnly);
const arrivals = new Set();
let asked = 0;

async function order(loaded = null) {
  asked += 1;
  const number = asked;
  try {
    const answer = getBytes(`/api/order?${filters.query}`);
    answer.catch(() => {});  // told below
    if (loaded) await loaded;
    const found = new Uint32Array(await answer);
    if (number !== asked) return;  // another order was asked for since
    arrivals.clear();
    pill();
    grid.setOrder(found);
    told();
  } catch (error) { failed(error); }
}

function showOnly(ids) {
  if (ids === null) { order(); return; }
  asked += 1;
  grid.setOrder(Uint32Array.from(ids));
  told();
}

function told() {
  const total = store.count - store.gone.size, count = grid.order.length;
  byId("count").textContent = count === total ? many(count) : `${many(count)} of ${total.toLocaleString("en")}`;
  byId("empty").hidden = count > 0;
  byId("empty").querySelector("h2").textContent = filters.isSet ? "No picture is like that" : "Nothing here yet";
  grid.box.classList.toggle("empty", count === 0);
}

function pill() {
  const button = byId("pill");
  button.hidden = arrivals.size === 0;
  button.textContent = `${arrivals.size.toLocaleString("en")} new`;
}

async function reload() {
  await order(store.load());  // both are asked for at once
}

function wanted() {
  if (!loupe.isOpen && grid.selected.size) return [...grid.selected];
  const id = loupe.isOpen ? loupe.id : grid.focus;
  return id === null ? [] : [id];
}

// About what is shown at this very moment, whatever comes next.
async function judge(verdict, stays) {
  const ids = wanted();
  if (!ids.length) return;
  if (loupe.isOpen) loupe.said();
  if (ids.length > 1) {
    if (await actions.verdict(ids, verdict)) grid.clearSelection();
    return;
  }
  actions.verdict(ids, verdict);
  if (stays || settings.read_only) return;
  if (loupe.isOpen) loupe.next(1);
  else grid.move(1);
}

function go(step) {
  if (loupe.isOpen) loupe.next(step);
  else grid.move(step);
}

const DO = {
  keep: () => judge("keep", false), keepStay: () => judge("keep", true),
  reject: () => judge("reject", false), rejectStay: () => judge("reject", true),
  undo: () => actions.undo(), redo: () => actions.redo(),
  next: () => go(1), previous: () => go(-1),
  up: () => (loupe.isOpen ? false : grid.move(-grid.columns)), down: () => (loupe.isOpen ? false : grid.move(grid.columns)),
  first: () => go(-grid.order.length), last: () => go(grid.order.length),
  open: () => (loupe.isOpen ? loupe.close() : loupe.open(grid.focus)),
  back: () => {
    if (loupe.slider) loupe.endSlider();
    else if (loupe.isZoomed) loupe.zoom();
    else if (sideShows()) hideSide();
    else if (loupe.isOpen) loupe.close();
    else grid.clearSelection();
  },
  zoom: () => (loupe.isOpen ? loupe.zoom() : false),
  before: () => (loupe.isOpen ? loupe.before() : false),
  two: () => { if (loupe.isOpen) loupe.count(loupe.panes.length === 2 ? 1 : 2); else if (grid.focus !== null) { loupe.open(grid.focus); loupe.count(2); } },
  four: () => { if (!loupe.isOpen) loupe.open(grid.focus); if (loupe.isOpen) loupe.count(loupe.panes.length >= 4 ? 1 : loupe.panes.length + 1); },
  pane: () => { if (!loupe.isOpen || loupe.panes.length < 2) return false; loupe.activate((loupe.active + 1) % loupe.panes.length); return true; },
  why: () => (sideShows() === "why" ? hideSide() : why.show(loupe.isOpen ? loupe.id : grid.focus)),
  search: () => { byId("words").focus(); byId("words").select(); },
  filter: () => filters.toggle(), threshold: () => (sideShows() === "threshold" ? hideSide() : threshold.show()),
  line: () => (sideShows() === "line" ? hideSide() : line.show()),
  refresh: () => order(), all: () => (loupe.isOpen ? false : grid.selectAll()), keys: () => showKeys(keys),
};
const keys = new Keys((name, event) => (event.repeat && !["next", "previous", "up", "down"].includes(name) ? true : DO[name]()));

filters.addEventListener("change", () => order());
grid.addEventListener("open", (event) => loupe.open(event.detail));
grid.addEventListener("focus-moved", (event) => why.follow(event.detail));
grid.addEventListener("selection", () => {
  byId("selection").hidden = grid.selected.size === 0;
  byId("selected").textContent = `${many(grid.selected.size)} selected`;
});
loupe.onSwipe = (verdict) => judge(verdict, false);
actions.onUndone = (id) => { if (grid.places.has(id)) { if (loupe.isOpen) loupe.show(id); else grid.setFocus(id); } };
byId("pill").addEventListener("click", () => order());
byId("size").value = grid.side;
byId("size").addEventListener("input", (event) => grid.setSide(Number(event.target.value)));
byId("undo").addEventListener("click", () => actions.undo());
byId("redo").addEventListener("click", () => actions.redo());
byId("show-threshold").addEventListener("click", DO.threshold);
byId("show-line").addEventListener("click", DO.line);
byId("show-keys").addEventListener("click", DO.keys);
byId("close").addEventListener("click", () => loupe.close());
for (const button of document.querySelectorAll("#loupe [data-key]")) button.addEventListener("click", () => { DO[button.dataset.key](); button.blur(); });
byId("selection").addEventListener("click", async (event) => {
  const what = event.target.dataset.do;
  if (what === "none") grid.clearSelection();
  else if (what === "enlarge") { await actions.simple("/api/enlarge", {images: [...grid.selected]}, `${many(grid.selected.size)} to be enlarged.`); grid.clearSelection(); }
  else if (what && await actions.verdict([...grid.selected], what)) grid.clearSelection();
});

await reload();
requestAnimationFrame(() => performance.mark("first-grid"));
new Events(store, {
  images(rows, gone, changed) {
    const added = store.apply(rows, gone, changed);
    for (const id of added) arrivals.add(id);
    for (const id of gone) arrivals.delete(id);
    pill();
    if (!grid.order.length && arrivals.size && !filters.isSet) order();
    else told();
  },
  reload,
  panel(found) {
    line.update(found);
    store.mailbox(found.pending.map(([id, verdict]) => [id, verdict === "keep" ? KEEP : REJECT]));
  },
  answer: (answer) => actions.answered(answer),
  connected: (is) => document.body.classList.toggle("away", !is),
});
document.body.dataset.ready = "yes";
globalThis.gallery = {store, grid, loupe, actions, threshold};  // for whoever looks at the page with the browser's tools
