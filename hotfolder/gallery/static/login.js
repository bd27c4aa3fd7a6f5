// Gives the token to the server, which answers with a cookie. It comes in the part of the address that is not sent.
const told = document.getElementById("told");

async function give(token) {
  const answer = await fetch("/login", {
    method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({token}),
  });
  if (answer.ok) location.replace("/");
  else told.textContent = "This is not the token.";
}

const token = location.hash.slice(1);
if (token) {
  history.replaceState(null, "", "/login");  // it does not stay in the history
  give(token);
}
document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  give(document.getElementById("token").value.trim());
});
