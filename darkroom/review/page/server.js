// What the page asks the server: one request after the other where order matters, and a plain sentence when it fails.
"use strict";

const PATIENCE = 30000; // milliseconds until the server counts as gone
const LATE = "The review does not answer. Is `darkroom review` still running? What was not saved is undone here.";

class Failed extends Error {}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    throw new Failed(LATE);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Failed(body.error ? body.error[0].toUpperCase() + body.error.slice(1) : `The server answered ${response.status}.`);
}

const get = async (path, values = {}) => {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) [value].flat().forEach((one) => query.append(name, one));
  return (await ask(`${path}?${query}`)).json();
};

// Decisions, and what takes them back, reach the server in the order in which they were made.
let last = Promise.resolve();
let unsaved = 0;
let decisions = 0; // made on this page

function post(path, body) {
  unsaved++;
  decisions++;
  const sent = last.then(async () => {
    try {
      return await (await ask(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } })).json();
    } finally {
      unsaved--;
    }
  });
  last = sent.catch(() => {});
  return sent;
}

addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });

const pictureOf = (item) => `picture?id=${encodeURIComponent(item.id)}`;

function showPicture(image, item) {
  image.classList.remove("broken", "small");
  image.onload = () => image.classList.toggle("small", image.naturalWidth <= 96);
  image.onerror = () => image.classList.add("broken");
  image.src = pictureOf(item);
}
