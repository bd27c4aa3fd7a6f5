// Verdicts and the rest: asked of the daemon, shown at once as not carried out yet, taken back as one.
import {post} from "./api.js";
import {KEEP, REJECT} from "./store.js";
import {ask, failed, many, tell} from "./toast.js";

const WORDS = {keep: "kept", reject: "rejected"};
const MOST = 500;  // steps that are remembered

export class Actions {
  constructor(store, grid) {
    this.store = store;
    this.grid = grid;
    this.done = [];  // {command, address, asked, label, ids}
    this.undone = [];
    this.readOnly = false;
    this.chain = Promise.resolve();
  }

  // One after the other: what was pressed first is asked first.
  queue(work) {
    this.store.asking += 1;
    const result = this.chain.then(work).finally(() => {
      this.store.asking -= 1;
      this.store.touched = performance.now();
    });
    this.chain = result.catch(() => {});
    return result;
  }

  async verdict(ids, verdict) {
    if (this.readOnly) { tell("This gallery only shows."); return false; }
    const wanted = ids.filter((id) => this.store.has(id));
    if (!wanted.length) return false;
    if (wanted.length > 1 && !await ask(`${verdict === "keep" ? "Keep" : "Reject"} ${many(wanted.length)}? It can be undone as one.`, verdict === "keep" ? "Keep them" : "Reject them")) return false;
    const label = wanted.length === 1 ? `${this.name(wanted[0])} ${WORDS[verdict]}` : `${many(wanted.length)} ${WORDS[verdict]}`;
    return this.perform("/api/verdict", {images: wanted, verdict}, label, wanted);
  }

  name(id) {
    const known = this.grid.names.get(id);
    return known ? known.path.split("/").pop() : `picture ${id}`;
  }

  // 0 to 5: what they say of a picture, the daemon decides by the gate.
  async stars(ids, stars) {
    if (this.readOnly) { tell("This gallery only shows."); return false; }
    const wanted = ids.filter((id) => this.store.has(id));
    if (!wanted.length) return false;
    const what = stars === 0 ? "no stars" : many(stars, "star");
    if (wanted.length > 1 && !await ask(`Give ${many(wanted.length)} ${what}? It can be undone as one.`, "Give them")) return false;
    return this.perform("/api/stars", {images: wanted, stars}, `${wanted.length === 1 ? this.name(wanted[0]) : many(wanted.length)}: ${what}`, wanted);
  }

  // Dropped files whose work has failed.
  async retry(files) {
    if (this.readOnly) { tell("This gallery only shows."); return false; }
    if (!files.length) return false;
    if (files.length > 1 && !await ask(`Try ${many(files.length, "file")} again? It can be undone as one.`, "Try them again")) return false;
    return this.perform("/api/retry", {drops: files}, `${many(files.length, "file")} to be tried again`);
  }

  // Dropped files of which something waits.
  async cancel(files) {
    if (this.readOnly) { tell("This gallery only shows."); return false; }
    if (!files.length || !await ask(`Begin nothing more of ${many(files.length, "file")}?`, "Cancel it")) return false;
    return this.simple("/api/cancel", {drops: files, jobs: []}, "Cancelled.");
  }

  // What was asked for is shown as not carried out yet, or not any more.
  pend(asked, ids, isAsked) {
    if (asked.verdict) this.store.setPending(ids, isAsked ? {keep: KEEP, reject: REJECT}[asked.verdict] : 0);
    if (asked.stars !== undefined) this.store.setPendingStars(ids, isAsked ? asked.stars : null);
  }

  perform(address, asked, label, ids = [], isAgain = false) {
    this.pend(asked, ids, true);
    if (!isAgain) this.undone.length = 0;
    // At once, so that an undo that is pressed next is about this one.
    const step = {address, asked, label, ids, command: null};
    this.done.push(step);
    if (this.done.length > MOST) this.done.shift();
    return this.queue(async () => {
      try {
        const answer = await post(address, asked);
        step.command = answer.command;
        const later = answer.daemon_is_running ? "" : " as soon as a daemon runs";
        tell(`${label}${later}`, {action: "Undo", does: () => this.undo(step)});
        return true;
      } catch (error) {
        drop(this.done, step);
        drop(this.undone, step);  // an undo of it was pressed meanwhile
        this.pend(asked, ids, false);
        failed(error);
        return false;
      }
    });
  }

  // The last one, or the one that is told of: others may have been done since.
  undo(step = this.done.at(-1)) {
    if (this.readOnly || (step && !this.done.includes(step))) return Promise.resolve();
    const at = this.done.indexOf(step);
    drop(this.done, step);
    // At once, so that a redo that is pressed next is about this one.
    if (step) this.undone.push(step);
    return this.queue(async () => {
      try {
        if (!step) {
          const answer = await post("/api/undo", {});
          const what = answer.undoes?.[0];
          tell(answer.withdrawn ? "Taken back: it had not been begun" : `Undone: ${what ? `${what.action}, ${many(what.files, "file")}` : "the last action"}`);
          return;
        }
        if (!step.command) return;
        await post("/api/undo", {command: step.command});
        if (!step.isRedone) this.pend(step.asked, step.ids, false);
        tell(`Undone: ${step.label}`, {action: "Redo", does: () => this.redo(step)});
        const first = step.ids[0];
        if (first !== undefined) this.onUndone?.(first);
      } catch (error) {
        drop(this.undone, step);
        if (step && !step.isRedone) this.done.splice(at, 0, step);  // it can be undone still, after what came later
        failed(error);
      }
    });
  }

  redo(step = this.undone.at(-1)) {
    if (!step || !this.undone.includes(step)) { tell("There is nothing to redo."); return Promise.resolve(); }
    drop(this.undone, step);
    step.isRedone = true;
    return this.perform(step.address, step.asked, step.label, step.ids, true);
  }

  // What became of a command.
  answered(answer) {
    if (answer.error) { failed(new Error(answer.error)); return; }
    if (answer.left) failed(new Error(`${many(answer.left, "file")} left as they are: ${answer.errors.join("; ")}`));
    else if (answer.do === "reroute") {
      const step = this.done.find((each) => each.command === answer.command);
      tell(`${many(answer.kept)} went to keep/, ${many(answer.rejected)} to reject/`, step ? {action: "Undo", does: () => this.undo(step)} : {});
    }
  }

  async simple(address, asked, told) {
    if (this.readOnly) { tell("This gallery only shows."); return null; }
    try {
      const answer = await post(address, asked);
      if (told) tell(told + (answer.daemon_is_running === false ? " It waits for a daemon." : ""));
      return answer;
    } catch (error) { failed(error); return null; }
  }
}

// What is not in it any more is left alone.
function drop(steps, step) {
  const at = steps.indexOf(step);
  if (at >= 0) steps.splice(at, 1);
}
