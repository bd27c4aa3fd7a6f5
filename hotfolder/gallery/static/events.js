// What happens, as it happens. A page that nobody sees holds no stream: browsers have six connections for all pages.
const PATIENCE = 3000;

export class Events {
  constructor(store, on) {
    this.store = store;
    this.on = on;
    this.timer = 0;
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.timer);
      if (document.visibilityState === "hidden") this.timer = setTimeout(() => this.close(), PATIENCE);
      else this.open();
    });
    addEventListener("pagehide", () => this.close());
    this.open();
  }

  open() {
    if (this.source || document.visibilityState === "hidden") return;
    const source = new EventSource(`/events?after=${this.store.changed}`);
    this.source = source;
    source.addEventListener("images", (event) => {
      const told = JSON.parse(event.data);
      this.on.images(told.rows, told.gone, Number(event.lastEventId));
    });
    source.addEventListener("reload", () => this.on.reload());
    source.addEventListener("panel", (event) => this.on.panel(JSON.parse(event.data)));
    source.addEventListener("answer", (event) => this.on.answer(JSON.parse(event.data)));
    source.addEventListener("open", () => this.on.connected(true));
    source.addEventListener("error", () => {
      this.on.connected(false);
      if (source.readyState === EventSource.CLOSED) {  // it was refused: the browser does not try again by itself
        this.close();
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.open(), PATIENCE);
      }
    });
  }

  close() {
    this.source?.close();
    this.source = null;
  }
}
