// Another threshold, before anything moves: how many would, which, and then `reroute` with one undo.
import {make, showSide} from "./side.js";
import {many} from "./toast.js";

export class Threshold {
  constructor(store, grid, actions, keep, filter) {
    this.store = store;
    this.grid = grid;
    this.actions = actions;
    this.keep = keep;
    this.alsoMine = false;
    this.filter = filter;  // shows just these ids, or all again
    this.isShown = false;
    this.timer = 0;
    this.busy = false;
    store.addEventListener("change", () => { if (this.isShown) this.later(); });
  }

  show() {
    this.isShown = true;
    this.range = make("input", "", {type: "range", min: 1, max: 10, step: 0.01, "aria-label": "Threshold", id: "threshold-range"});
    this.number = make("input", "", {type: "number", min: 1, max: 10, step: "any", "aria-label": "Threshold as a number", id: "threshold"});
    this.canvas = make("canvas", "", {width: 640, height: 220, role: "img"});
    this.told = make("p", "", {role: "status", id: "flips"});
    const mine = make("input", "", {type: "checkbox"});
    mine.checked = this.alsoMine;
    mine.addEventListener("change", () => { this.alsoMine = mine.checked; this.preview(); });
    const label = make("label");
    label.append(mine, " also what I kept or rejected myself");
    this.apply = make("button", "Move them", {class: "main", id: "apply", onclick: () => this.run()});
    this.only = make("button", "Show only these", {"aria-pressed": "false", onclick: () => this.toggleOnly()});
    const row = make("div", "", {class: "row"});
    row.append(this.apply, this.only);
    for (const field of [this.range, this.number]) {
      field.value = this.keep;
      field.addEventListener("input", () => {
        const value = Number(field.value);
        if (!(value >= 1 && value <= 10)) return;
        this.keep = value;
        (field === this.range ? this.number : this.range).value = value;
        this.preview();
      });
    }
    const line = make("div", "", {class: "line"});
    line.append(this.range, this.number);
    showSide("threshold", "Threshold", [
      make("p", "At or above it an image is kept. Nothing moves until you say so, and then it can be undone."),
      this.canvas, line, this.told, label, row,
      make("p", "For new images: gate.keep in hotfolder.toml.", {class: "faint"}),
    ], () => this.end());
    this.preview();
  }

  end() {
    this.isShown = false;
    this.grid.flipped = new Map();
    this.grid.paintAll();
    if (this.isOnly) this.toggleOnly();
  }

  // Soon, and not once for each of many changes.
  later() {
    this.timer ||= setTimeout(() => {
      this.timer = 0;
      if (this.isShown) this.preview();
    }, 300);
  }

  preview() {
    const {toKeep, toReject} = this.store.flips(this.keep, this.alsoMine);
    this.grid.flipped = new Map([...toKeep.map((id) => [id, "keep"]), ...toReject.map((id) => [id, "reject"])]);
    this.grid.paintAll();
    const count = toKeep.length + toReject.length;
    this.told.textContent = count ? `${many(toKeep.length)} would go to keep/, ${many(toReject.length)} to reject/` : "Nothing would move";
    this.told.dataset.keep = toKeep.length;
    this.told.dataset.reject = toReject.length;
    this.apply.disabled = !count || this.actions.readOnly;
    if (this.isOnly) this.filter([...this.grid.flipped.keys()]);
    this.draw();
  }

  toggleOnly() {
    this.isOnly = !this.isOnly;
    this.only.setAttribute("aria-pressed", this.isOnly);
    this.filter(this.isOnly ? [...this.grid.flipped.keys()] : null);
  }

  async run() {
    if (this.busy) return;
    this.busy = true;
    const count = this.grid.flipped.size;
    try {
      await this.actions.perform("/api/reroute", {keep: this.keep, also_mine: this.alsoMine}, `${many(count)} sorted anew at ${this.keep}`);
    } finally { this.busy = false; }
  }

  draw() {
    const bins = this.store.histogram(), most = Math.max(1, ...bins.map((bin) => bin[0] + bin[1] + bin[2]));
    const pen = this.canvas.getContext("2d"), style = getComputedStyle(document.body);
    const {width, height} = this.canvas, foot = 26, step = width / bins.length, unit = (height - foot - 6) / Math.sqrt(most);
    pen.clearRect(0, 0, width, height);
    bins.forEach((bin, at) => {
      let bottom = height - foot;
      const total = bin[0] + bin[1] + bin[2];
      if (!total) return;
      const tall = Math.max(2, Math.sqrt(total) * unit);  // by the root: few are seen beside many
      [["--keep", bin[0]], ["--reject", bin[1]], ["--faint", bin[2]]].forEach(([name, count]) => {
        const part = tall * count / total;
        pen.fillStyle = style.getPropertyValue(name);
        pen.fillRect(at * step + 0.5, bottom - part, step - 1, part);
        bottom -= part;
      });
    });
    const x = (this.keep - 1) / 9 * width;
    pen.fillStyle = style.getPropertyValue("--ink");
    pen.fillRect(x - 1, 0, 2, height - foot);
    pen.font = "18px system-ui, sans-serif";
    for (let score = 1; score <= 10; score += 1) {
      pen.textAlign = score === 1 ? "left" : score === 10 ? "right" : "center";
      pen.fillText(String(score), (score - 1) / 9 * width, height - 4);
    }
    this.canvas.setAttribute("aria-label", `How scores are spread; the threshold is ${this.keep}`);
  }
}
