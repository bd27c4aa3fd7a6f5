// The panel beside the grid: one thing at a time.
const box = document.getElementById("side");
const buttons = {threshold: document.getElementById("show-threshold"), line: document.getElementById("show-line")};
let shown = null, atEnd = null, wanted = null, turn = 0;

export function make(kind, text = "", more = {}) {
  const node = document.createElement(kind);
  if (text) node.textContent = text;
  for (const [name, value] of Object.entries(more)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value);
  }
  return node;
}

// Something that has to be asked of the server first. Gives whether it is what was asked for last, when it is there.
export function wish(name) {
  turn += 1;
  wanted = name;
  const mine = turn;
  return () => mine === turn;
}

export function showSide(name, title, parts, ends = null) {
  wish(name);
  if (shown !== name) atEnd?.();
  atEnd = ends;
  shown = name;
  const close = make("button", "×", {class: "close", "aria-label": "Close the panel", onclick: hideSide});
  const head = make("div", "", {class: "head"});
  head.append(make("h2", title), close);
  box.replaceChildren(head, ...parts);
  box.dataset.shows = name;
  box.hidden = false;
  document.body.classList.add("beside");
  mark();
}

export function hideSide() {
  wish(null);
  atEnd?.();
  atEnd = null;
  shown = null;
  box.hidden = true;
  delete box.dataset.shows;
  document.body.classList.remove("beside");
  mark();
}

export function sideShows() { return shown; }
// The same, or what is to be there soon.
export function sideWants() { return wanted; }

function mark() {
  for (const [name, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", shown === name);
}
