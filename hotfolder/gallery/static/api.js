// Asks the server. Everything that comes from it is data: it is put into the page as text, never as markup.

export class Refused extends Error {
  constructor(error, status) {
    super(error.fix ? `${error.message} (${error.fix})` : error.message);
    this.kind = error.kind;
    this.status = status;
  }
}

async function checked(answer) {
  if (answer.ok) return answer;
  let error = {message: `the server answers ${answer.status}`, fix: "", kind: "failure"};
  try { error = (await answer.json()).error || error; } catch { /* no JSON: from a proxy, perhaps */ }
  throw new Refused(error, answer.status);
}

async function reached(address, options) {
  try {
    return await checked(await fetch(address, options));
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused({message: "the gallery does not answer", fix: "is hotfolder gallery running?", kind: "away"}, 0);
  }
}

export async function getJson(address) {
  return (await reached(address)).json();
}

export async function getBytes(address) {
  return (await reached(address)).arrayBuffer();
}

export async function post(address, asked = {}, keepalive = false) {
  return (await reached(address, {
    method: "POST", keepalive, headers: {"content-type": "application/json"}, body: JSON.stringify(asked),
  })).json();
}

// Tells how far it is: fetch does not.
export function upload(inbox, file, progress) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/upload?inbox=${encodeURIComponent(inbox)}&name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => progress(event.total ? event.loaded / event.total : 0));
    request.addEventListener("load", () => {
      let told = {};
      try { told = JSON.parse(request.responseText); } catch { /* as below */ }
      if (request.status === 201) done(told);
      else failed(new Refused(told.error || {message: `the server answers ${request.status}`}, request.status));
    });
    request.addEventListener("error", () => failed(new Refused({message: "the connection was cut"}, 0)));
    request.send(file);
  });
}
