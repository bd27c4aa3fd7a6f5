// Why an image is where it is: scores, gate, verdicts, tries, settings, and how to make it again.
import {getJson} from "./api.js";
import {make, showSide, sideShows, sideWants, wish} from "./side.js";
import {failed, tell} from "./toast.js";

const HOW = {key: "by key", stars: "by stars", command: "by a command", moved: "by moving the file", seen: "looked at and left"};
const WHO = {gate: "the gate", taste: "your taste"};

export class Why {
  constructor(actions, like) {
    this.actions = actions;
    this.like = like;
    this.id = null;
    this.taste = null;  // adds its own part
  }

  async show(id) {
    if (id === null) return;
    this.id = id;
    const isWanted = wish("why");
    let told;
    try { told = await getJson(`/api/images/${id}`); } catch (error) {
      if (isWanted()) wish(sideShows());
      failed(error);
      return;
    }
    if (!isWanted()) return;  // another one, another panel or none was asked for since
    showSide("why", "Why", this.parts(told), () => { this.id = null; });
  }

  follow(id) { if (sideWants() === "why" && this.id !== id) this.show(id); }

  parts(told) {
    const {gate} = told, parts = [];
    parts.push(make("p", told.path, {class: "path"}));
    const verdict = told.verdict ? `${told.verdict === "keep" ? "✓ kept" : "✕ rejected"}${told.verdict_by === "person" ? " by you" : ` by ${WHO[told.verdict_by] || told.verdict_by}`}` : told.role === "upscaled" ? "⤢ enlarged: measured, not judged" : "no verdict yet";
    const score = told.score === null ? "not scored yet" : told.score.toFixed(2);
    const facts = make("dl");
    const fact = (name, text) => { if (text !== null && text !== undefined && text !== "") facts.append(make("dt", name), make("dd", String(text))); };
    fact("Verdict", verdict);
    fact("Stars", told.stars === null ? null : `${"★".repeat(Math.max(0, told.stars)) || (told.stars ? "rejected" : "none")} by you`);
    fact("Score", told.scorer ? `${score} by ${told.scorer}` : score);
    fact("Gate now", `keep at ${gate.keep}, enlarge at ${gate.upscale}`);
    fact("Gain", told.gain === null ? null : `${told.gain >= 0 ? "+" : ""}${told.gain.toFixed(2)} by enlarging`);
    fact("Size", `${told.width} × ${told.height}`);
    fact("Model", told.model);
    fact("Seed", told.seed);
    fact("Dropped as", told.source_file);
    fact("Made", new Date(told.created_at).toLocaleString());
    fact("No more tries", told.stopped);
    parts.push(facts);
    if (told.prompt) parts.push(make("h3", "Prompt"), make("p", told.prompt, {class: "prompt"}));
    if (told.negative_prompt) parts.push(make("h3", "Negative prompt"), make("p", told.negative_prompt, {class: "prompt"}));
    parts.push(this.buttons(told));
    parts.push(this.list("Scores", told.scores.map((each) => `${each.score.toFixed(2)}  ${each.scorer}, ${each.precision}${each.gate ? "" : " (beside the gate)"}`)));
    if (this.taste) parts.push(this.taste.why(told));
    parts.push(this.list("Verdicts", told.verdicts.map((each) => {
      const by = each.given_by === "person" ? `you, ${HOW[each.how] || each.how}` : WHO[each.given_by] || each.given_by;
      const then = each.gate_keep === null ? "" : `; the gate kept at ${each.gate_keep}`;
      const score = each.score === null ? "" : ` at ${each.score.toFixed(2)}`;
      return `${new Date(each.created_at).toLocaleString()}: ${each.verdict}${score} by ${by}${then}`;
    })));
    parts.push(this.lineage(told));
    const settings = Object.entries(told.settings).filter(([, value]) => value !== null && value !== "" && !(Array.isArray(value) && !value.length));
    if (settings.length) {
      const table = make("dl");
      for (const [name, value] of settings) table.append(make("dt", name.replaceAll("_", " ")), make("dd", typeof value === "object" ? JSON.stringify(value) : String(value)));
      const more = make("details");
      more.append(make("summary", "All settings"), table);
      parts.push(more);
    }
    if (told.reproduce) {
      const more = make("details");
      more.append(make("summary", "The command that makes it again"), make("pre", told.reproduce, {tabindex: "0"}), make("p", "In the folder of the root."),
        make("button", "Copy the command", {onclick: () => copy(told.reproduce)}));
      parts.push(more);
    }
    return parts;
  }

  buttons(told) {
    const row = make("div", "", {class: "row"});
    row.append(make("button", "Like this one", {onclick: () => this.like(told.id)}));
    if (told.prompt) {
      row.append(make("button", "Copy prompt", {onclick: () => copy(told.prompt)}));
      if (!this.actions.readOnly) row.append(make("button", "Draw more like this", {onclick: () => this.more(told)}));
    }
    if (!this.actions.readOnly && told.role !== "upscaled" && !told.path.startsWith(".")) row.append(make("button", "Enlarge", {onclick: () => this.actions.simple("/api/enlarge", {images: [told.id]}, "It is to be enlarged.")}));
    return row;
  }

  async more(told) {
    const text = `${told.prompt.replace(/\s+/g, " ")} --count 4`;
    const answer = await this.actions.simple("/api/prompt", {text}, null);
    if (answer) tell(`${answer.images} more are to be drawn (${answer.path})`);
  }

  list(title, texts) {
    const part = make("section");
    if (!texts.length) return part;
    const list = make("ul");
    list.append(...texts.map((text) => make("li", text)));
    part.append(make("h3", title), list);
    return part;
  }

  // The tries of the same prompt, and what was enlarged from each.
  lineage(told) {
    const part = make("section"), branch = (each) => {
      const mark = {keep: "✓", reject: "✕"}[each.verdict] || (each.role === "upscaled" ? "⤢" : "·");
      const score = each.score === null ? "–" : each.score.toFixed(2), gain = each.gain === null ? "" : `, gain ${each.gain.toFixed(2)}`;
      const item = make("li", `${mark} ${score}${gain}  ${each.path.split("/").pop()}${each.is_gone ? " (gone)" : ""}`);
      if (each.path === told.path) item.className = "this";
      if (each.stopped) item.append(make("small", ` ${each.stopped}`));
      if (each.became.length) {
        const list = make("ul");
        list.append(...each.became.map(branch));
        item.append(list);
      }
      return item;
    };
    if (told.lineage.length > 1 || told.lineage.some((each) => each.became.length)) {
      const list = make("ul", "", {class: "lineage"});
      list.append(...told.lineage.map(branch));
      part.append(make("h3", "Tries, and what came of them"), list);
    }
    return part;
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell("Copied");
  } catch {
    tell("The browser does not allow to copy: mark the text by hand", {error: true});
  }
}
