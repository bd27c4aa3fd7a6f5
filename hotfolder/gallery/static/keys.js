// Which key does what; people may set others. By what a key writes, wherever it lies on the keyboard.

export const ACTIONS = [
  ["keep", "Keep, and go on", ["p", "k"]], ["keepStay", "Keep, and stay", ["Shift+P", "Shift+K"]],
  ["reject", "Reject, and go on", ["x"]], ["rejectStay", "Reject, and stay", ["Shift+X"]],
  ...[1, 2, 3, 4, 5].map((stars) => [`star${stars}`, `${stars} star${stars > 1 ? "s" : ""}, and go on`, [String(stars)]]), ["star0", "No stars, and go on", ["0"]],
  ["undo", "Undo", ["u", "Ctrl+z"]], ["redo", "Redo", ["Ctrl+Shift+Z", "Ctrl+y"]],
  ["next", "Next", ["ArrowRight", " "]], ["previous", "Previous", ["ArrowLeft", "Backspace"]],
  ["up", "A row up (grid)", ["ArrowUp"]], ["down", "A row down (grid)", ["ArrowDown"]],
  ["first", "First", ["Home"]], ["last", "Last", ["End"]],
  ["open", "Large, and back", ["Enter", "g"]], ["back", "Back", ["Escape"]],
  ["zoom", "100 % at the pointer, and back", ["z"]], ["before", "Before and after enlarging", ["b"]],
  ["two", "Two side by side", ["c"]], ["four", "One more side by side, up to four", ["n"]], ["pane", "The other side", ["Tab"]],
  ["why", "Why it is where it is", ["i"]], ["like", "Show what is like it", ["s"]], ["retry", "Try again (failed files)", ["a"]], ["cancel", "Cancel (waiting files)", ["Delete"]], ["search", "Search", ["/"]], ["filter", "Filters", ["f"]],
  ["threshold", "Threshold", ["t"]], ["line", "The line: work, queue, failures", ["l"]],
  ["refresh", "Show what is new", ["r"]], ["all", "Select all that is shown", ["Ctrl+a"]], ["keys", "This card", ["?"]],
];
const PLACE = "keys";

export class Keys {
  constructor(does) {
    this.does = does;
    this.load();
    addEventListener("keydown", (event) => this.pressed(event));
  }

  load() {
    let own = {};
    try { own = JSON.parse(localStorage.getItem(PLACE)) || {}; } catch { /* as delivered */ }
    this.of = new Map(ACTIONS.map(([name, , keys]) => [name, Array.isArray(own[name]) ? own[name].map(String) : keys]));
    this.byKey = new Map();
    for (const [name, keys] of this.of) for (const key of keys) this.byKey.set(key, name);
  }

  set(name, keys) {
    const own = Object.fromEntries(this.of);
    for (const other of Object.keys(own)) own[other] = own[other].filter((key) => !keys.includes(key));
    own[name] = keys;
    localStorage.setItem(PLACE, JSON.stringify(own));
    this.load();
  }

  reset() {
    localStorage.removeItem(PLACE);
    this.load();
  }

  pressed(event) {
    if (event.isComposing || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    const name = this.byKey.get(written(event));
    if (name === undefined || isTyping(event, name)) return;
    const onControl = event.target.closest("button, a, select, summary, input[type=range]");
    if (onControl && [" ", "Enter", "Tab"].includes(event.key)) return;
    if (onControl && event.target.closest("select, input[type=range]")) return;
    if (this.does(name, event) !== false) event.preventDefault();
  }
}

export function written(event) {
  const key = event.key.length === 1 && (event.ctrlKey || event.metaKey) && !event.shiftKey ? event.key.toLowerCase() : event.key;
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("Ctrl");
  if (event.shiftKey && (event.key.length > 1 || /\p{Lu}/u.test(event.key))) parts.push("Shift");
  return [...parts, key].join("+");
}

function isTyping(event, name) {
  const field = event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, [contenteditable]");
  if (!field) return false;
  if (name === "back") field.blur();
  return true;
}

const SHOWN = {" ": "Space", ArrowRight: "→", ArrowLeft: "←", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", Backspace: "⌫", Delete: "Del"};

// The card that shows the keys, and takes others.
export function showKeys(keys) {
  const card = document.getElementById("keys"), rows = document.getElementById("key-rows");
  const draw = () => {
    rows.replaceChildren(...ACTIONS.map(([name, told]) => {
      const row = document.createElement("tr"), what = document.createElement("th"), which = document.createElement("td");
      what.scope = "row";
      what.textContent = told;
      const button = document.createElement("button");
      button.textContent = keys.of.get(name).map((key) => key.split("+").map((part) => SHOWN[part] || part).join("+")).join("  ") || "none";
      button.setAttribute("aria-label", `${told}: ${button.textContent}. Set another key`);
      button.addEventListener("click", () => {
        button.textContent = "press a key";
        button.addEventListener("keydown", (event) => {
          if (["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
          event.preventDefault();
          event.stopPropagation();
          keys.set(name, [written(event)]);
          draw();
        });
      });
      which.append(button);
      row.append(what, which);
      return row;
    }));
  };
  draw();
  document.getElementById("keys-reset").onclick = () => { keys.reset(); draw(); };
  document.getElementById("keys-close").onclick = () => card.close();
  card.showModal();
}
