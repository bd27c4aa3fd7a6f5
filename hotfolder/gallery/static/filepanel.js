// What is known of a dropped file that waits or has failed, and what can be done with it.
import {STATES} from "./filecell.js";
import {make, showSide, sideShows} from "./side.js";
import {many} from "./toast.js";

const KINDS = {generate: "to be drawn", score: "to be judged", upscale: "to be enlarged"};

export class FilePanel {
  constructor(actions, grid) {
    this.actions = actions;
    this.grid = grid;
  }

  show(id) {
    const file = this.grid.files.get(id);
    if (!file) return;
    this.id = id;
    const facts = make("dl");
    const fact = (name, text) => { if (text) facts.append(make("dt", name), make("dd", String(text))); };
    fact("State", STATES[file.state]);
    fact("What", KINDS[file.work]);
    fact("In work", file.running && many(file.running, "job"));
    fact("Waiting", file.waiting && many(file.waiting, "job"));
    fact("Failed", file.failed && many(file.failed, "job"));
    fact("Lies in", file.lies);
    const parts = [make("p", file.name, {class: "path"}), facts];
    if (file.error) parts.push(make("p", file.error, {class: "prompt"}));
    if (file.fix) parts.push(make("p", file.fix, {class: "fix"}));
    const row = make("div", "", {class: "row"});
    if (file.failed) row.append(make("button", "Try again", {onclick: () => this.actions.retry([id])}));
    if (file.waiting || file.running) {
      row.append(make("button", "First", {onclick: () => this.actions.simple("/api/first", {drops: [id], jobs: []}, "It goes first.")}),
        make("button", "Cancel", {onclick: () => this.actions.cancel([id])}));
    }
    if (!this.actions.readOnly) parts.push(row);
    showSide("file", "File", parts);
  }

  follow(id) { if (sideShows() === "file") this.show(id); }
}
