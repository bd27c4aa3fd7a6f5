// What is shown, in which order. It stands in the address: a link, a bookmark and the back button know it.
import {getJson} from "./api.js";

const NAMES = ["folder", "verdict", "by", "role", "from", "to", "stars", "gain", "model", "seed", "source", "below", "since", "until"];
const WAIT = 250;

export class Filters extends EventTarget {
  constructor() {
    super();
    this.form = document.getElementById("filters");
    this.words = document.getElementById("words");
    this.sort = document.getElementById("sort");
    this.button = document.getElementById("show-filters");
    this.read();
    this.form.addEventListener("input", () => this.changed());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("reset", () => setTimeout(() => { this.words.value = ""; this.changed(); }));
    this.words.addEventListener("input", () => this.changed());
    document.getElementById("search").addEventListener("submit", (event) => { event.preventDefault(); document.getElementById("grid").focus(); });
    this.sort.addEventListener("change", () => this.changed(0));
    this.button.addEventListener("click", () => this.toggle());
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
      fill("models", told.models);
      fill("sources", told.sources);
    } catch { /* suggestions are a help, and no more */ }
  }

  read() {
    const asked = new URLSearchParams(location.search);
    for (const name of NAMES) this.form.elements[name].value = asked.get(name) || "";
    this.words.value = asked.get("words") || "";
    this.sort.value = asked.get("sort") || "newest";
    if (this.sort.selectedIndex < 0) this.sort.value = "newest";
    this.mark();
  }

  get query() {
    const asked = new URLSearchParams();
    for (const name of NAMES) {
      const field = this.form.elements[name], value = field.value.trim();
      if (value && field.checkValidity()) asked.set(name, value);
    }
    if (this.words.value.trim()) asked.set("words", this.words.value.trim());
    if (this.sort.value !== "newest") asked.set("sort", this.sort.value);
    return asked;
  }

  get isSet() {
    const asked = this.query;
    asked.delete("sort");
    return asked.size > 0;
  }

  mark() {
    const asked = this.query;
    asked.delete("sort");
    asked.delete("words");
    this.button.textContent = asked.size ? `Filter (${asked.size})` : "Filter";
    this.button.classList.toggle("set", asked.size > 0);
  }

  changed(wait = WAIT) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const text = this.query.toString();
      history.replaceState(null, "", text ? `?${text}` : location.pathname);
      this.mark();
      this.dispatchEvent(new Event("change"));
    }, wait);
  }
}
