// What was learnt from verdicts: the offer with its evidence, why a picture has its score, and which of some is better.
import {getJson} from "./api.js";
import {hideSide, make, showSide, sideShows, sideWants, wish} from "./side.js";
import {failed, many, tell} from "./toast.js";

const SMALL = 256, PREVIEW = 1600;

export class Taste {
  constructor(store, actions) {
    this.store = store;
    this.actions = actions;
    this.button = make("button", "Taste", {id: "show-taste", title: "What was learnt from your verdicts", "aria-pressed": "false", onclick: () => this.toggle()});
    document.getElementById("show-threshold").after(this.button);
    this.box = make("div", "", {class: "taste"});
    this.dialog = make("dialog", "", {id: "better", "aria-labelledby": "better-title"});
    // It stays while what is below it changes, or its changes would not be read out.
    this.place = make("p", "", {class: "faint", "aria-live": "polite"});
    this.asked = make("div");
    this.dialog.append(this.place, this.asked);
    this.busy = false;
    this.round = 0;
    document.body.append(this.dialog);
  }

  toggle() {
    if (sideWants() === "taste") hideSide();
    else this.show();
  }

  async show() {
    const isWanted = wish("taste");
    try { await this.read(); } catch (error) {
      if (isWanted()) wish(sideShows());
      failed(error);
      return;
    }
    if (!isWanted()) return;  // another panel or none was asked for since
    showSide("taste", "Taste", [this.box], () => this.button.setAttribute("aria-pressed", "false"));
    this.button.setAttribute("aria-pressed", "true");
  }

  async read() {
    const told = await getJson("/api/taste");
    this.box.replaceChildren(...(told.tastes.length ? told.tastes.map((each) => this.one(each)) : [
      make("p", "Nothing is learnt yet. Keep, reject, and look at pictures large: what you look at and leave counts, too."),
    ]));
  }

  one(told) {
    const part = make("section"), {threshold, direction} = told;
    part.append(make("h3", `inbox/${told.inbox}`));
    part.append(make("p", `${many(told.labels, "label")} (${told.kept} kept, ${told.rejected} rejected: verdicts, and what you looked at and left), ${many(told.pairs, "pair")}.`));
    if (threshold) part.append(make("p", `You keep from ${threshold.at.toFixed(2)} (90 %: ${threshold.lowest.toFixed(2)} to ${threshold.highest.toFixed(2)}); the gate keeps from ${told.keep}.`));
    if (told.draws_line === false) part.append(make("p", "Your verdicts draw no line: the score hardly separates what you keep and what you reject, so there is no threshold of yours."));
    if (direction && direction.auc !== null) {
      const error = direction.auc_error === null ? "" : ` ± ${direction.auc_error.toFixed(2)}`;
      part.append(make("p", `Beyond the score: AUC ${direction.auc.toFixed(2)}${error}, by ${told.prior} alone ${direction.prior_auc.toFixed(2)}; better than ${threshold ? "your" : "any"} threshold by ${direction.sureness.toFixed(1)} standard errors.`));
    }
    if (told.why_not_more) part.append(make("p", `Not yet: ${told.why_not_more}${told.more ? `; about ${told.more} more` : ""}.`, {class: "faint"}));
    part.append(make("p", told.in_use ? "The gate looks at your taste." : `The gate looks at ${told.prior} alone.`, {class: "state"}));
    const row = make("div", "", {class: "row"});
    if (!this.actions.readOnly) {
      if (told.offered && told.offered !== told.in_use) {
        const what = told.level === "threshold" ? "Use my threshold" : "Use my taste";
        row.append(make("button", what, {class: "main", onclick: () => this.settle(told.inbox, told.offered)}));
      }
      if (told.in_use) row.append(make("button", "The score alone", {onclick: () => this.settle(told.inbox, null)}));
      row.append(make("button", "Which is better?", {onclick: () => this.compare(told.inbox)}));
    }
    part.append(row, make("p", "It holds for new pictures. For those that are there: hotfolder rescore, then the threshold. Forgetting: hotfolder taste forget.", {class: "faint"}));
    return part;
  }

  async settle(inbox, head) {
    const answer = await this.actions.simple("/api/taste", {inbox, head}, head ? "The gate is to look at your taste." : "The gate is to look at the score alone.");
    if (answer) setTimeout(() => { if (sideShows() === "taste") this.read().catch(failed); }, 1500);
  }

  // For the panel that tells why: a section that is filled when it is known.
  why(told) {
    const part = make("section", "", {class: "taste-why"});
    getJson(`/api/taste/why/${told.id}`).then(({taste}) => {
      if (!taste) return;
      const list = make("dl"), points = (value, sign = true) => `${sign && value >= 0 ? "+" : ""}${value.toFixed(2)}`;
      const names = {score: `Score by ${taste.parts[0].by}`, threshold: "Your threshold", personal: "What you like beyond it"};
      for (const each of taste.parts) list.append(make("dt", names[each.part]), make("dd", points(each.points, each.part !== "score")));
      list.append(make("dt", taste.is_in_use ? "Your taste" : "Your taste (offered)"), make("dd", `${taste.score.toFixed(2)}: kept by you in ${Math.round(taste.chance * 100)} of 100`));
      list.append(make("dt", "Would be kept"), make("dd", `with a threshold up to ${taste.kept_at_keep_up_to.toFixed(2)}; it is ${taste.keep}`));
      part.append(make("h3", "Taste"), list);
      for (const [title, likes] of [["Most like what you kept", taste.like_kept], ["Most like what you rejected", taste.like_rejected]]) {
        const shown = likes.filter((each) => this.store.has(each.id));
        if (!shown.length) continue;
        const row = make("div", "", {class: "likes"});
        row.append(...shown.map((each) => make("img", "", {src: this.store.address(each.id, SMALL), alt: `alike by ${each.likeness.toFixed(2)}`, title: each.likeness.toFixed(2)})));
        part.append(make("p", title, {class: "faint"}), row);
      }
    }).catch(() => { /* the rest of the panel stands without it */ });
    return part;
  }

  async compare(inbox) {
    let sets;
    try { ({sets} = await getJson(`/api/taste/close?inbox=${encodeURIComponent(inbox)}`)); } catch (error) { failed(error); return; }
    if (this.dialog.open) return;  // it was asked for twice
    this.round += 1;
    this.sets = sets.map((ids) => ids.filter((id) => this.store.has(id))).filter((ids) => ids.length > 1);
    if (!this.sets.length) { tell("No two pictures of one prompt are near the threshold that you have not compared."); return; }
    this.count = 0;
    this.all = this.sets.length;
    this.next();
    if (!this.dialog.open) this.dialog.showModal();
  }

  next() {
    const ids = this.sets.shift();
    if (!ids) {
      this.dialog.close();
      tell(`${many(this.count, "comparison")} noted. What follows from them is learnt by itself.`);
      return;
    }
    this.place.textContent = `Set ${this.all - this.sets.length} of ${this.all}`;
    const row = make("div", "", {class: "better"});
    row.append(...ids.map((id, at) => {
      const button = make("button", "", {"aria-label": `Picture ${at + 1} is the best`, onclick: () => this.choose(id, ids)});
      button.append(make("img", "", {src: this.store.address(id, PREVIEW), alt: `Picture ${at + 1}`}), make("span", String(at + 1)));
      return button;
    }));
    const foot = make("div", "", {class: "row"});
    foot.append(make("button", "None of them", {onclick: () => { if (!this.busy) this.next(); }}), make("button", "Enough", {onclick: () => { this.sets = []; if (!this.busy) this.next(); }}));
    this.dialog.onkeydown = (event) => {
      const chosen = ids[Number(event.key) - 1];
      event.stopPropagation();
      if (event.repeat) return;
      if (chosen !== undefined) { event.preventDefault(); this.choose(chosen, ids); }
    };
    this.asked.replaceChildren(make("h2", "Which is better?", {id: "better-title"}), make("p", "All are of one prompt, near your threshold. Nothing is moved."), row, foot);
    row.querySelector("button").focus();
  }

  // One answer a set: a second key, or one that is held, is not taken for the next one's.
  async choose(best, ids) {
    if (this.busy) return;
    this.busy = true;
    const {round} = this;
    let answer;
    try {
      answer = await this.actions.simple("/api/taste/pair", {images: [best, ...ids.filter((id) => id !== best)]}, null);
    } finally { this.busy = false; }
    if (!answer || !this.dialog.open || round !== this.round) return;  // it was closed meanwhile, and opened again
    this.count += 1;
    this.next();
  }
}
