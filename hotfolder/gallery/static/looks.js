// What was looked at large and left as it was: gathered, and told now and then. It tells taste from the gate's errors.
import {post} from "./api.js";

const MOST = 25, EVERY = 15000;

export class Looks {
  constructor(isWanted) {
    this.isWanted = isWanted;
    this.found = [];
    setInterval(() => this.send(), EVERY);
    document.addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden") this.send(); });
    addEventListener("pagehide", () => this.send());
  }

  add(id, milliseconds) {
    if (!this.isWanted()) return;
    this.found.push([id, milliseconds]);
    if (this.found.length >= MOST) this.send();
  }

  send() {
    if (!this.found.length) return;
    const looks = this.found.splice(0);
    post("/api/seen", {looks}, true).catch(() => { /* a look is no verdict: it may be lost */ });
  }
}
