// Puts the parts together.
import {Actions} from "./actions.js";
import {getBytes} from "./api.js";
import {Events} from "./events.js";
import {FilePanel} from "./filepanel.js";
import {Filters} from "./filters.js";
import {Grid} from "./grid.js";
import {Keys, showKeys} from "./keys.js";
import {Line} from "./line.js";
import {Looks} from "./looks.js";
import {Loupe} from "./loupe.js";
import {hideSide, sideWants} from "./side.js";
import {KEEP, REJECT, Store} from "./store.js";
import {Taste} from "./taste.js";
import {Threshold} from "./threshold.js";
import {failed, many, tell} from "./toast.js";
import {Why} from "./why.js";

const settings = JSON.parse(document.body.dataset.settings);
const byId = (id) => document.getElementById(id);
const store = new Store(), grid = new Grid(store), filters = new Filters(), actions = new Actions(store, grid);
actions.readOnly = settings.read_only;
document.body.classList.toggle("read-only", settings.read_only);
const loupe = new Loupe(store, grid, new Looks(() => !settings.read_only));
const why = new Why(actions, (id) => like(id)), line = new Line(actions, settings), file = new FilePanel(actions, grid);
why.taste = new Taste(store, actions);
const threshold = new Threshold(store, grid, actions, settings.keep, showOnly);
const arrivals = new Set();
const FILES_EVERY = 1000;  // ms
let asked = 0, lookingAtFiles = false;

async function order(loaded = null) {
  asked += 1;
  const number = asked, showsFiles = filters.showsFiles, known = new Set(arrivals);
  if (filters.hasAlike) tell("Looking for what is like it …");
  try {
    const answer = getBytes(`/api/order?${filters.query}`);
    answer.catch(() => {});  // told below
    if (loaded) {
      await loaded;
      grid.paintAll();
    }
    const found = new Uint32Array(await answer);
    if (number !== asked) return;  // another order was asked for since
    if (showsFiles !== grid.showsFiles) arrivals.clear();
    grid.setOrder(found, showsFiles);
    for (const id of arrivals) if (known.has(id) || grid.places.has(id)) arrivals.delete(id);  // later ones are not in it
    pill();
    told();
    if (filters.hasAlike) tell(`${many(found.length)}, the most alike first`);
  } catch (error) { if (loaded || number === asked) failed(error); }
}

function showOnly(ids) {
  if (ids === null) { order(); return; }
  asked += 1;
  grid.setOrder(Uint32Array.from(ids));
  told();
}

const EMPTY = {waiting: "Nothing waits", failed: "Nothing has failed"};

function told() {
  const total = store.count - store.gone.size, count = grid.order.length, state = filters.query.get("state");
  byId("empty").querySelector("p").hidden = grid.showsFiles;
  if (grid.showsFiles) {
    byId("count").textContent = `${many(count, "file")} that ${state === "failed" ? "failed" : count === 1 ? "waits" : "wait"}`;
    byId("empty").querySelector("h2").textContent = EMPTY[state];
    byId("empty").hidden = count > 0;
    grid.box.classList.toggle("empty", count === 0);
    return;
  }
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

// Files come and go while one looks at them: what is shown stays in its place, and what is new is offered.
async function lookAtFiles() {
  if (lookingAtFiles) return;
  lookingAtFiles = true;
  await new Promise((done) => setTimeout(done, FILES_EVERY));
  lookingAtFiles = false;
  if (!grid.showsFiles) return;
  grid.ask(true);
  try {
    const number = asked, found = new Uint32Array(await getBytes(`/api/order?${filters.query}`));
    if (number !== asked || !grid.showsFiles) return;
    arrivals.clear();
    for (const id of found) if (!grid.places.has(id)) arrivals.add(id);
    if (!grid.order.length && found.length) order();
    else pill();
  } catch { /* the next word of the line asks again */ }
}

async function reload() {
  await order(store.load());  // both are asked for at once
}

function wanted() {
  if (!loupe.isOpen && grid.selected.size) return [...grid.selected];
  const id = loupe.isOpen ? loupe.id : grid.focus;
  return id === null ? [] : [id];
}

function isOfFiles() {
  if (!grid.showsFiles) return false;
  tell("These are files that wait or have failed: there is no picture to say that of. A tries again, Del cancels.");
  return true;
}

// About what is shown at this very moment, whatever comes next.
async function judge(say, stays) {
  const ids = wanted();
  if (!ids.length || isOfFiles()) return;
  if (loupe.isOpen) loupe.said();
  if (ids.length > 1) {
    if (await say(ids)) grid.clearSelection(ids);
    return;
  }
  say(ids);
  if (stays || settings.read_only) return;
  if (loupe.isOpen) loupe.next(1);
  else grid.move(1);
}

function go(step) {
  if (loupe.isOpen) loupe.next(step);
  else grid.move(step);
}

const keep = (ids) => actions.verdict(ids, "keep"), reject = (ids) => actions.verdict(ids, "reject");

function like(id) {
  if (id === null || grid.showsFiles) return;
  if (loupe.isOpen) loupe.close();
  grid.focus = id;
  filters.like(id);
}

async function ofFiles(does) {
  if (!grid.showsFiles) { tell("That is for files that wait or have failed: F, and “Show”."); return; }
  const ids = wanted();
  if (await does(ids)) grid.clearSelection(ids);
}

const DO = {
  keep: () => judge(keep, false), keepStay: () => judge(keep, true),
  reject: () => judge(reject, false), rejectStay: () => judge(reject, true),
  ...Object.fromEntries([0, 1, 2, 3, 4, 5].map((stars) => [`star${stars}`, () => judge((ids) => actions.stars(ids, stars), false)])),
  like: () => like(loupe.isOpen ? loupe.id : grid.focus),
  retry: () => ofFiles((ids) => actions.retry(ids)), cancel: () => ofFiles((ids) => actions.cancel(ids)),
  undo: () => actions.undo(), redo: () => actions.redo(),
  next: () => go(1), previous: () => go(-1),
  up: () => (loupe.isOpen ? false : grid.move(-grid.columns)), down: () => (loupe.isOpen ? false : grid.move(grid.columns)),
  first: () => go(-grid.order.length), last: () => go(grid.order.length),
  open: () => (grid.showsFiles ? file.show(grid.focus) : loupe.isOpen ? loupe.close() : loupe.open(grid.focus)),
  back: () => {
    if (loupe.slider) loupe.endSlider();
    else if (loupe.isZoomed) loupe.zoom();
    else if (sideWants()) hideSide();
    else if (loupe.isOpen) loupe.close();
    else grid.clearSelection();
  },
  zoom: () => (loupe.isOpen ? loupe.zoom() : false),
  before: () => (loupe.isOpen ? loupe.before() : false),
  two: () => { if (grid.showsFiles) isOfFiles(); else if (loupe.isOpen) loupe.count(loupe.panes.length === 2 ? 1 : 2); else if (grid.focus !== null) { loupe.open(grid.focus); loupe.count(2); } },
  four: () => { if (grid.showsFiles) { isOfFiles(); return; } if (!loupe.isOpen) loupe.open(grid.focus); if (loupe.isOpen) loupe.count(loupe.panes.length >= 4 ? 1 : loupe.panes.length + 1); },
  pane: () => { if (!loupe.isOpen || loupe.panes.length < 2) return false; loupe.activate((loupe.active + 1) % loupe.panes.length); return true; },
  why: () => (["why", "file"].includes(sideWants()) ? hideSide() : grid.showsFiles ? file.show(grid.focus) : why.show(loupe.isOpen ? loupe.id : grid.focus)),
  search: () => { byId("words").focus(); byId("words").select(); },
  filter: () => filters.toggle(), threshold: () => (sideWants() === "threshold" ? hideSide() : threshold.show()),
  line: () => (sideWants() === "line" ? hideSide() : line.show()),
  refresh: () => order(), all: () => (loupe.isOpen ? false : grid.selectAll()), keys: () => showKeys(keys),
};
const keys = new Keys((name, event) => (event.repeat && !["next", "previous", "up", "down"].includes(name) ? true : DO[name]()));

filters.addEventListener("change", () => order());
grid.addEventListener("open", (event) => (grid.showsFiles ? file.show(event.detail) : loupe.open(event.detail)));
grid.addEventListener("focus-moved", (event) => (grid.showsFiles ? file : why).follow(event.detail));
grid.addEventListener("selection", () => {
  for (const button of byId("selection").querySelectorAll("[data-do]")) {
    button.hidden = button.dataset.do !== "none" && ["retry", "cancel"].includes(button.dataset.do) !== grid.showsFiles;
  }
  byId("selection").hidden = grid.selected.size === 0;
  byId("selected").textContent = `${many(grid.selected.size, grid.showsFiles ? "file" : "picture")} selected`;
});
loupe.onSwipe = (verdict) => DO[verdict]();
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
  const what = event.target.dataset.do, ids = [...grid.selected];
  if (what === "none") grid.clearSelection();
  else if (what === "enlarge") { await actions.simple("/api/enlarge", {images: ids}, `${many(ids.length)} to be enlarged.`); grid.clearSelection(ids); }
  else if (what === "retry" || what === "cancel") DO[what]();
  else if (what && await actions.verdict(ids, what)) grid.clearSelection(ids);
});

await reload();
requestAnimationFrame(() => performance.mark("first-grid"));
new Events(store, {
  images(rows, gone, changed) {
    const added = store.apply(rows, gone, changed);
    if (grid.showsFiles) return;
    for (const id of added) arrivals.add(id);
    for (const id of gone) arrivals.delete(id);
    pill();
    if (!grid.order.length && arrivals.size && !filters.isSet) order();
    else told();
  },
  reload,
  panel(found) {
    line.update(found);
    store.mailbox(found.pending.map(([id, verdict]) => [id, verdict === "keep" ? KEEP : REJECT]), found.pending_stars);
    if (grid.showsFiles) lookAtFiles();
  },
  answer: (answer) => actions.answered(answer),
  connected: (is) => document.body.classList.toggle("away", !is),
});
document.body.dataset.ready = "yes";
globalThis.gallery = {store, grid, loupe, actions, threshold, filters};  // for whoever looks at the page with the browser's tools
