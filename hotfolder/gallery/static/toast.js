// What was just done, in a line; and a question before much is done at once.
const box = document.getElementById("toast");
let timer = 0;

export function tell(text, {error = false, action = null, does = null} = {}) {
  clearTimeout(timer);
  box.replaceChildren(document.createTextNode(text));
  box.classList.toggle("error", error);
  if (action) {
    const button = document.createElement("button");
    button.textContent = action;
    button.addEventListener("click", () => { box.hidden = true; does(); });
    box.append(" ", button);
  }
  box.hidden = false;
  timer = setTimeout(() => { box.hidden = true; }, error ? 9000 : 5000);
}

export function failed(error) {
  tell(error.message, {error: true});
}

export function ask(text, yes) {
  const dialog = document.getElementById("sure"), button = document.getElementById("sure-yes");
  document.getElementById("sure-text").textContent = text;
  button.textContent = yes;
  return new Promise((answer) => {
    const end = (isYes) => { dialog.close(); answer(isYes); };
    button.onclick = () => end(true);
    document.getElementById("sure-no").onclick = () => end(false);
    // Escape, and the back gesture of a phone. The event comes a little after the closing (HTML standard, "close the
    // dialog"): while the next question is open already, it is of the one before, which has its answer.
    dialog.onclose = () => { if (!dialog.open) answer(false); };
    dialog.showModal();
    button.focus();
  });
}

export function many(count, what = "picture") {
  return `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
}
