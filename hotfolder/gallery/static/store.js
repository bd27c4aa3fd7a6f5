// All images, in columns: 18 bytes each. What the grid shows, and what a threshold would change, is read from here.
import {getBytes} from "./api.js";

export const KEEP = 1, REJECT = 2, MINE = 4;
const ROLE = 24, FOLDER = 224;
export const UPSCALED = 16, OF_BEST = 24;  // of a set of which the best are kept
export const IN_KEEP = 32, IN_REJECT = 64;

const QUIET = 1500;  // ms
const STARS = 2;  // so much more is told: 0 is none that a person gave

export class Store extends EventTarget {
  constructor() {
    super();
    this.changed = 0;
    this.count = 0;
    this.slots = new Map();
    this.scores = new Float64Array(0);
    this.ids = new Uint32Array(0);
    this.versions = new Uint32Array(0);
    this.flags = new Uint8Array(0);
    this.stars = new Uint8Array(0);
    this.gone = new Set();
    this.asking = 0;  // requests under way
    this.loads = 0;
    this.meanwhile = null;  // what is told while a load is on its way
    this.pending = new Map();  // id -> verdict that is asked for and not carried out yet
    this.pendingStars = new Map();  // the same of stars
  }

  async load() {
    this.loads += 1;
    this.meanwhile = [];
    const number = this.loads;
    let data;
    try { data = await getBytes("/api/columns"); } catch (error) {
      if (number === this.loads) this.meanwhile = null;
      throw error;
    }
    if (number !== this.loads) return;  // a later one knows more
    const {meanwhile} = this;
    this.meanwhile = null;
    const [count, changed] = new Uint32Array(data, 0, 2);
    let at = 8;
    const column = (Type) => {
      const found = new Type(data, at, count);
      at += found.byteLength;
      return found;
    };
    // In the order of the server: eight bytes, four, four, one, one.
    this.scores = column(Float64Array);
    this.ids = column(Uint32Array);
    this.versions = column(Uint32Array);
    this.flags = column(Uint8Array);
    this.stars = column(Uint8Array);
    this.count = count;
    this.changed = changed;
    this.gone.clear();
    this.slots = new Map();
    for (let slot = 0; slot < count; slot += 1) this.slots.set(this.ids[slot], slot);
    for (const told of meanwhile) if (told[2] > changed) this.apply(...told);  // it is not in it yet
  }

  has(id) { return this.slots.has(id) && !this.gone.has(id); }
  score(id) { return this.scores[this.slots.get(id)]; }
  flag(id) { return this.flags[this.slots.get(id)] || 0; }
  verdict(id) { return this.flag(id) & 3; }
  isMine(id) { return (this.flag(id) & MINE) !== 0; }
  // Those that a person gave, -1 to 5, also when they are not carried out yet; null: none were given.
  starsOf(id) {
    const pending = this.pendingStars.get(id), told = this.stars[this.slots.get(id)];
    return pending ?? (told ? told - STARS : null);
  }
  // Whether what a person asks for is so already.
  hasVerdict(id, verdict) { return this.isMine(id) && this.verdict(id) === verdict; }
  hasStars(id, stars) { return this.stars[this.slots.get(id)] === stars + STARS; }
  isPending(id) { return this.pending.has(id) || this.pendingStars.has(id); }
  isUpscaled(id) { return (this.flag(id) & ROLE) === UPSCALED; }
  address(id, size) { return `/thumbnail/${size}/${id}/${this.version(id)}`; }
  original(id) { return `/original/${id}/${this.version(id)}`; }
  version(id) { return (this.versions[this.slots.get(id)] || 0).toString(16); }

  // What an event tells. Gives the ids that were not known before.
  apply(rows, gone, changed) {
    this.meanwhile?.push([rows, gone, changed]);
    const added = [];
    for (const [id, score, flags, version, stars] of rows) {
      let slot = this.slots.get(id);
      if (slot === undefined) {
        slot = this.count;
        this.grow(slot + 1);
        this.count += 1;
        this.slots.set(id, slot);
        this.ids[slot] = id;
        added.push(id);
      }
      this.gone.delete(id);
      this.scores[slot] = score === null ? NaN : score;
      this.flags[slot] = flags;
      this.versions[slot] = version;
      this.stars[slot] = stars;
      if (this.hasStars(id, this.pendingStars.get(id))) this.pendingStars.delete(id);
      if (this.hasVerdict(id, this.pending.get(id))) this.pending.delete(id);
    }
    for (const id of gone) this.gone.add(id);
    this.changed = changed;
    this.dispatchEvent(new CustomEvent("change", {detail: {ids: rows.map((row) => row[0]), gone}}));
    return added;
  }

  grow(needed) {
    if (needed <= this.ids.length) return;
    const size = Math.max(1024, needed * 2);
    for (const name of ["scores", "ids", "versions", "flags", "stars"]) {
      const larger = new this[name].constructor(size);
      larger.set(this[name].subarray(0, this.count));
      this[name] = larger;
    }
  }

  setPending(ids, verdict) { this.ask(this.pending, ids, verdict || null); }
  setPendingStars(ids, stars) { this.ask(this.pendingStars, ids, stars); }

  // null: it is not asked for any more.
  ask(pending, ids, what) {
    for (const id of ids) {
      if (what === null) pending.delete(id);
      else pending.set(id, what);
    }
    this.touched = performance.now();
    this.dispatchEvent(new CustomEvent("change", {detail: {ids, gone: []}}));
  }

  // What the mailbox has, as the server saw it. What was asked for a moment ago may not be in it yet.
  mailbox(verdicts, stars) {
    clearTimeout(this.later);
    const left = this.asking ? QUIET : QUIET - (performance.now() - (this.touched ?? -QUIET));
    if (left > 0) {  // it is told but once, as long as it does not change
      this.later = setTimeout(() => this.mailbox(verdicts, stars), left);
      return;
    }
    const changed = new Set();
    for (const [name, found, has] of [["pending", verdicts, "hasVerdict"], ["pendingStars", stars, "hasStars"]]) {
      // It was looked at before the images that are told with it: what those show is not waited for any more.
      const now = new Map(found.filter(([id, what]) => !this[has](id, what))), before = this[name];
      for (const id of [...now.keys(), ...before.keys()]) if (now.get(id) !== before.get(id)) changed.add(id);
      this[name] = now;
    }
    if (changed.size) this.dispatchEvent(new CustomEvent("change", {detail: {ids: [...changed], gone: []}}));
  }

  // What `reroute --keep` would move, by the same rule as the ledger's: the score's last bit counts.
  flips(keep, alsoMine) {
    const toKeep = [], toReject = [];
    for (let slot = 0; slot < this.count; slot += 1) {
      const flags = this.flags[slot], score = this.scores[slot];
      const role = flags & ROLE;
      if (role === UPSCALED || role === OF_BEST || (!alsoMine && (flags & MINE)) || this.gone.has(this.ids[slot])) continue;
      const verdict = flags & 3, folder = flags & FOLDER;
      if (verdict === KEEP && score < keep && folder === IN_KEEP) toReject.push(this.ids[slot]);
      else if (verdict === REJECT && score >= keep && folder === IN_REJECT) toKeep.push(this.ids[slot]);
    }
    return {toKeep, toReject};
  }

  // How many of each score, in steps of a tenth: kept, rejected, neither. Enlarged images count no second time.
  histogram() {
    const bins = Array.from({length: 90}, () => [0, 0, 0]);
    for (let slot = 0; slot < this.count; slot += 1) {
      const flags = this.flags[slot], score = this.scores[slot];
      if (Number.isNaN(score) || (flags & ROLE) === UPSCALED || this.gone.has(this.ids[slot])) continue;
      const bin = Math.max(0, Math.min(89, Math.floor((score - 1) * 10)));
      bins[bin][(flags & 3) === KEEP ? 0 : (flags & 3) === REJECT ? 1 : 2] += 1;
    }
    return bins;
  }
}
