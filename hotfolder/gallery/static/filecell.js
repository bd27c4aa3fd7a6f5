// A cell of a dropped file that waits or has failed: most have no picture yet, and say what they are in words.

const SIGNS = {running: "▶", waiting: "…", failed: "!", done: "✓"};
export const STATES = {running: "in work", waiting: "waits", failed: "failed", done: "done"};

export function paintFile(node, file) {
  const state = file?.state ?? "waiting", count = file ? file.running + file.waiting + file.failed : 0;
  node.dataset.kind = file ? `file-${state}` : "none";
  node.dataset.flip = "";
  node.classList.remove("pending");
  node.classList.add("file");
  node.flip.textContent = node.stars.textContent = "";
  node.about.textContent = file ? file.name.split("/").pop() : "";
  node.mark.textContent = file ? SIGNS[state] : "·";
  node.score.textContent = file ? STATES[state] : "";
  node.who.textContent = count > 1 ? `×${count.toLocaleString("en")}` : "";
  const seen = [node.about, node.mark, node.score, node.who].map((part) => part.textContent).filter(Boolean).join(" ");
  node.setAttribute("aria-label", file?.state === "failed" ? `${seen}, ${file.error}` : seen || "a file");
  node.title = file ? [file.name, file.error].filter(Boolean).join("\n") : "";
}

// It is used for an image again.
export function clearFile(node) {
  if (!node.classList.contains("file")) return;
  node.classList.remove("file");
  node.about.textContent = node.title = "";
}
