// The line: what is in work, what waits, what has failed and how to mend it; prompts and files to drop.
import {upload} from "./api.js";
import {make, showSide, sideShows} from "./side.js";
import {ask, failed, many, tell} from "./toast.js";

const KINDS = {generate: "drawing", score: "scoring", upscale: "enlarging"};

export class Line {
  constructor(actions, settings) {
    this.actions = actions;
    this.settings = settings;
    this.told = null;
    this.busy = false;
    this.box = make("div", "", {class: "work"});
    // What is told just now does not take a button away from below a finger.
    this.isPressed = this.isLate = false;
    this.box.addEventListener("pointerdown", () => { this.isPressed = true; });
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => setTimeout(() => this.released()));
    this.mark = document.getElementById("line-mark");
    this.prompt = this.promptBox();
    this.dropping();
  }

  show() {
    showSide("line", "The line", [this.box, this.prompt]);
    this.draw();
  }

  update(told) {
    this.told = told;
    const open = Object.values(told.queue).reduce((sum, states) => sum + states.queued + states.running, 0);
    this.mark.textContent = !told.daemon.running ? "stopped" : told.daemon.paused ? "paused" : open ? String(open) : "";
    if (sideShows() !== "line") return;
    if (this.isPressed) this.isLate = true;
    else this.draw();
  }

  released() {
    this.isPressed = false;
    if (!this.isLate) return;  // what was marked with the mouse stays marked
    this.isLate = false;
    this.draw();
  }

  draw() {
    const told = this.told;
    if (!told) { this.box.replaceChildren(make("p", "…")); return; }
    const {daemon} = told, parts = [];
    const state = !daemon.running ? "No daemon runs: what you ask for waits for one (hotfolder run)." : daemon.paused ? `Paused: ${daemon.paused}` : `At work: ${daemon.stage || "starting"}`;
    parts.push(make("p", state, {class: "state"}));
    if (daemon.steps) parts.push(make("progress", "", {max: daemon.steps, value: daemon.step, "aria-label": "Steps of what is in work"}));
    if (told.eta_seconds) parts.push(make("p", `Done in about ${span(told.eta_seconds)}`));
    if (daemon.devices.length > 1) {
      const list = make("ul", "", {class: "faint"});
      for (const each of daemon.devices) list.append(make("li", `${each.device}: ${each.state}${each.stage ? `, ${each.stage}` : ""}${each.holds.length ? ` (${each.holds.join(", ")})` : ""}`));
      parts.push(list);
    } else if (daemon.memory_total) {
      parts.push(make("p", `Device memory: ${(daemon.memory_used / 2 ** 30).toFixed(1)} of ${(daemon.memory_total / 2 ** 30).toFixed(1)} GiB`, {class: "faint"}));
    }
    const row = make("div", "", {class: "row"});
    if (daemon.paused) row.append(make("button", "Go on", {onclick: () => this.actions.simple("/api/resume", {}, "It goes on.")}));
    else {
      row.append(make("button", "Pause", {onclick: () => this.actions.simple("/api/pause", {}, "Nothing new is begun.")}),
        make("button", "Pause for 1 h", {onclick: () => this.actions.simple("/api/pause", {seconds: 3600}, "Nothing new is begun for an hour.")}));
    }
    if (!this.actions.readOnly) parts.push(row);
    parts.push(make("p", `Today: ${told.today.keep} kept, ${told.today.reject} rejected, ${told.today.upscaled} enlarged`, {class: "faint"}));
    const running = told.jobs.filter((job) => job.state === "running"), queued = told.jobs.filter((job) => job.state === "queued");
    const count = Object.values(told.queue).reduce((sum, states) => sum + states.queued, 0);
    if (running.length) parts.push(make("h3", "In work"), this.jobs(running, false));
    if (queued.length) parts.push(make("h3", `Waiting: ${count.toLocaleString("en")}`), this.jobs(queued, true));
    if (queued.length < count) parts.push(make("p", `and ${many(count - queued.length, "job")} more`, {class: "faint"}));
    if (told.failures.length) parts.push(...this.failures(told.failures));
    if (!this.actions.readOnly) parts.push(this.recorded());
    // It is drawn anew whenever something is told: what was opened stays open, and who is on a button stays there.
    const isOpen = this.box.querySelector("details")?.open, focus = document.activeElement;
    const was = this.box.contains(focus) ? called(focus) : null;
    this.box.replaceChildren(...parts);
    if (isOpen) this.box.querySelector("details").open = true;
    if (was !== null) [...this.box.querySelectorAll("button, summary")].find((each) => called(each) === was)?.focus({preventScroll: true});
  }

  recorded() {
    const more = make("details");
    more.append(make("summary", "What is recorded"),
      make("p", "Your verdicts, and which pictures you looked at large and left as they were. It stays in this root's database, and nothing is moved by it."),
      make("button", "Forget what I looked at", {onclick: async () => {
        if (await ask("Forget which pictures you looked at and left as they were? Verdicts stay.", "Forget it")) this.actions.simple("/api/forget-seen", {}, "It is forgotten.");
      }}));
    return more;
  }

  jobs(jobs, waits) {
    const list = make("ul", "", {class: "jobs"}), byDrop = new Map();
    for (const job of jobs) {
      const key = `${job.kind} ${job.drop_id}`;
      if (!byDrop.has(key)) byDrop.set(key, {...job, count: 0});
      byDrop.get(key).count += 1;
    }
    for (const job of byDrop.values()) {
      const item = make("li");
      item.append(make("span", `${KINDS[job.kind]} ${job.source_file.replace(/^inbox\//, "")}${job.count > 1 ? ` (${job.count})` : ""}`));
      if (job.error) item.append(make("small", job.error));
      if (!this.actions.readOnly) {
        if (waits) item.append(make("button", "First", {"aria-label": `Do ${job.source_file} first`, onclick: () => this.actions.simple("/api/first", {drops: [job.drop_id], jobs: []}, "It goes first.")}));
        item.append(make("button", "Cancel", {"aria-label": `Cancel ${job.source_file}`, onclick: async () => {
          if (await ask(`Begin nothing more of ${job.source_file}?`, "Cancel it")) this.actions.simple("/api/cancel", {drops: [job.drop_id], jobs: []}, "Cancelled.");
        }}));
      }
      list.append(item);
    }
    return list;
  }

  failures(failures) {
    const list = make("ul", "", {class: "failures"});
    for (const job of failures) {
      const item = make("li");
      item.append(make("strong", job.source_file.replace(/^inbox\//, "")), make("p", job.error || "it failed"));
      if (job.fix) item.append(make("p", job.fix, {class: "fix"}));
      if (!this.actions.readOnly) item.append(make("button", "Try again", {"aria-label": `Try ${job.source_file} again`, onclick: () => this.actions.simple("/api/retry", {jobs: [job.id]}, "It is tried again.")}));
      list.append(item);
    }
    const title = make("h3", "Failed"), all = make("button", "Try all again", {onclick: () => this.actions.simple("/api/retry", {jobs: failures.map((job) => job.id)}, "They are tried again.")});
    return this.actions.readOnly || failures.length < 2 ? [title, list] : [title, all, list];
  }

  promptBox() {
    const form = make("form", "", {class: "prompt-box"}), text = make("textarea", "", {rows: 3, maxlength: 65536, placeholder: "a small cyan star on a brown background --count 4", "aria-label": "Prompts, one a line", id: "prompt"});
    const told = make("p", "", {role: "status"}), button = make("button", "Draw", {class: "main"});
    form.append(make("h3", "Draw something"), text, button, told);
    const inboxes = make("p", "Pictures: drop them anywhere on this page, or ", {class: "faint"});
    const choose = make("input", "", {type: "file", multiple: "", id: "files", "aria-label": "Pictures to be judged"});
    choose.addEventListener("change", () => { this.send("score", [...choose.files]); choose.value = ""; });
    const label = make("label", "choose some to be judged: ");
    label.append(choose);
    inboxes.append(label);
    form.append(inboxes);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const given = text.value;
      if (!given.trim() || this.busy) return;
      this.busy = true;
      let answer;
      try { answer = await this.actions.simple("/api/prompt", {text: given}, null); } finally { this.busy = false; }
      told.textContent = answer ? `${many(answer.images)} to be drawn` : "";
      if (answer && text.value === given) text.value = "";  // what was written meanwhile stays
    });
    return form;
  }

  dropping() {
    const cover = document.getElementById("drop"), targets = document.getElementById("drop-targets");
    let depth = 0;
    for (const [name, kind] of Object.entries(this.settings.inboxes)) {
      const words = {generate: "draw from it", score: "judge", upscale: "enlarge"}[kind];
      const target = make("div", "", {class: "target", "data-inbox": name});
      target.append(make("strong", name), make("span", words));
      target.addEventListener("dragover", (event) => { event.preventDefault(); target.classList.add("over"); });
      target.addEventListener("dragleave", () => target.classList.remove("over"));
      target.addEventListener("drop", (event) => {
        event.preventDefault();
        target.classList.remove("over");
        this.send(name, [...event.dataTransfer.files]);
      });
      targets.append(target);
    }
    const hide = () => { depth = 0; cover.hidden = true; };
    addEventListener("dragenter", (event) => {
      if (this.actions.readOnly || !event.dataTransfer?.types.includes("Files")) return;
      depth += 1;
      cover.hidden = false;
    });
    addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) hide(); });
    addEventListener("dragover", (event) => { if (!cover.hidden) event.preventDefault(); });
    addEventListener("drop", (event) => { if (!cover.hidden) { event.preventDefault(); hide(); } });
  }

  // One after the other, so that a hundred files do not hold all connections.
  async send(inbox, files) {
    let done = 0;
    const errors = [];
    for (const file of files) {
      if (file.size > this.settings.most_upload) { errors.push(`${file.name} has more than ${Math.floor(this.settings.most_upload / 2 ** 20)} MiB`); continue; }
      try {
        await upload(inbox, file, (part) => tell(`${file.name}: ${Math.round(100 * part)} % (${done + 1} of ${files.length})`));
        done += 1;
      } catch (error) { errors.push(`${file.name}: ${error.message}`); }
    }
    if (errors.length) failed(new Error(`${many(done, "file")} dropped; ${errors.slice(0, 3).join("; ")}${errors.length > 3 ? ` and ${errors.length - 3} more` : ""}`));
    else if (files.length) tell(`${many(done, "file")} dropped into ${inbox}`);
  }
}

function called(node) { return node.getAttribute("aria-label") || node.textContent; }

function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
