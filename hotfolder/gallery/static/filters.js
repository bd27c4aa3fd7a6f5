// What is shown, in which order. It stands in the address: a link, a bookmark and the back button know it.
import {getJson} from "./api.js";

const NAMES = ["state", "like", "shows", "folder", "verdict", "by", "role", "from", "to", "stars", "gain", "model", "seed", "source", "below", "since", "until"];
const WAIT = 250, SOON = 2000;
const SCORER = "scorer:";

export class Filters extends EventTarget {
  constructor() {
    super();
    this.form = document.getElementById("filters");
    this.words = document.getElementById("words");
    this.sort = document.getElementById("sort");
    this.button = document.getElementById("show-filters");
    this.unlike = document.getElementById("unlike");
    this.alike = this.sort.querySelector("[value=alike]");
    this.read();
    // Words that are looked for in what pictures show wait for Enter: a search takes its time.
    this.form.addEventListener("input", (event) => { if (event.target.name !== "shows") this.changed(); });
    this.form.elements.shows.addEventListener("change", () => { this.form.elements.like.value = ""; this.changed(0); });
    this.unlike.addEventListener("click", () => this.like(""));
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("reset", () => setTimeout(() => { this.words.value = this.form.elements.like.value = ""; this.changed(); }));
    this.words.addEventListener("input", () => this.changed());
    document.getElementById("search").addEventListener("submit", (event) => { event.preventDefault(); document.getElementById("grid").focus(); });
    this.sort.addEventListener("change", () => this.changed(0));
    this.button.addEventListener("click", () => this.toggle());
    setTimeout(() => this.suggest(), SOON);
    addEventListener("popstate", () => { this.read(); this.dispatchEvent(new Event("change")); });
  }

  toggle(wanted = this.form.hidden) {
    this.form.hidden = !wanted;
    this.button.setAttribute("aria-expanded", wanted);
    if (wanted) {
      this.form.querySelector("select").focus();
      this.suggest();
    }
  }

  async suggest() {
    try {
      const told = await getJson("/api/choices");
      const fill = (id, texts) => document.getElementById(id).replaceChildren(...texts.map((text) => {
        const option = document.createElement("option");
        option.value = text;
        return option;
      }));
      if (told.scorers.length > 1) for (const name of told.scorers) this.offer(SCORER + name);
      fill("models", told.models);
      fill("sources", told.sources);
    } catch { /* suggestions are a help, and no more */ }
  }

  // An order by the scores of one scorer.
  offer(value) {
    if ([...this.sort.options].some((option) => option.value === value)) return;
    const option = document.createElement("option");
    option.value = value;
    option.textContent = `Best by ${value.slice(SCORER.length)}`;
    this.sort.append(option);
  }

  get showsFiles() { return this.form.elements.state.value !== ""; }
  get hasAlike() { return !this.showsFiles && (this.form.elements.like.value !== "" || this.form.elements.shows.value.trim() !== ""); }
  get usual() { return this.hasAlike ? "alike" : "newest"; }

  // Pictures that are like this one, in the place of what is shown; the way back is the browser's.
  like(id) {
    const fields = this.form.elements;
    fields.like.value = id;
    fields.state.value = fields.shows.value = "";
    this.sort.value = this.usual;
    const text = this.query.toString();
    history.pushState(null, "", text ? `?${text}` : location.pathname);
    this.mark();
    this.dispatchEvent(new Event("change"));
  }

  read() {
    const asked = new URLSearchParams(location.search);
    for (const name of NAMES) this.form.elements[name].value = asked.get(name) || "";
    this.words.value = asked.get("words") || "";
    this.alike.hidden = !this.hasAlike;
    const sort = asked.get("sort") || this.usual;
    if (sort.startsWith(SCORER)) this.offer(sort);
    this.sort.value = sort;
    if (this.sort.selectedIndex < 0) this.sort.value = this.usual;
    this.mark();
  }

  get query() {
    const asked = new URLSearchParams();
    for (const name of NAMES) {
      const field = this.form.elements[name], value = field.value.trim();
      // Of files, words alone are asked.
      if (value && field.checkValidity() && (name === "state" || !this.showsFiles)) asked.set(name, value);
    }
    if (this.words.value.trim()) asked.set("words", this.words.value.trim());
    if (!this.showsFiles && this.sort.value !== this.usual) asked.set("sort", this.sort.value);
    return asked;
  }

  get isSet() {
    const asked = this.query;
    asked.delete("sort");
    return asked.size > 0;
  }

  mark() {
    const {elements} = this.form;
    for (const name of NAMES) if (name !== "state") elements[name].disabled = this.showsFiles;
    this.sort.disabled = this.showsFiles;
    if (this.alike.hidden === this.hasAlike) this.sort.value = this.usual;
    this.alike.hidden = this.alike.disabled = !this.hasAlike;
    this.unlike.hidden = !elements.like.value || this.showsFiles;
    this.unlike.textContent = `Like picture ${elements.like.value} ✕`;
    this.unlike.setAttribute("aria-label", `Like picture ${elements.like.value} ✕: show all again`);
    const asked = this.query;
    asked.delete("sort");
    asked.delete("words");
    this.button.textContent = asked.size ? `Filter (${asked.size})` : "Filter";
    this.button.classList.toggle("set", asked.size > 0);
  }

  changed(wait = WAIT) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.mark();
      const text = this.query.toString();
      history.replaceState(null, "", text ? `?${text}` : location.pathname);
      this.dispatchEvent(new Event("change"));
    }, wait);
  }
}
