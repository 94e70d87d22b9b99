// The HTTP interface, read from the server's own OpenAPI document.
"use strict";

function make(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function table(header, rows) {
  const line = (kind) => (cells) => make("tr", "", ...cells.map((cell) => make(kind, String(cell))));
  return make("table", "", make("thead", "", line("th")(header)), make("tbody", "", ...rows.map(line("td"))));
}

function example(method, path, call) {
  const address = `${location.origin}${path}`;
  const key = call.responses["401"] ? " -H 'Authorization: Bearer KEY'" : "";
  if (method === "get") return `curl${key} ${address}`;
  const out = path === "/explain" ? " -o map.png" : "";
  return `curl${key} -F file=@photo.jpg${out} ${address}\ncurl${key} --data-binary @photo.jpg -H 'Content-Type: image/jpeg'${out} ${address}`;
}

function describe(path, method, call) {
  const parts = [make("h2", "", Object.assign(make("span", method.toUpperCase()), { className: "method" }), ` ${path}`), make("p", call.summary)];
  if (call.parameters) {
    const rows = call.parameters.map((one) => [one.name, one.description || "", one.schema.default ?? ""]);
    parts.push(table(["parameter", "what", "default"], rows));
  }
  if (call.requestBody) parts.push(make("p", `Body: ${Object.keys(call.requestBody.content).join(", ")}`));
  parts.push(make("pre", "", make("code", example(method, path, call))));
  const rows = Object.entries(call.responses).map(([status, one]) => [status, one.description, Object.keys(one.content || {}).join(", ")]);
  parts.push(table(["status", "meaning", "content"], rows));
  return make("section", "", ...parts);
}

async function main(key) {
  const response = await fetch("openapi.json", { headers: key ? { Authorization: `Bearer ${key}` } : {} });
  document.getElementById("key").hidden = response.status !== 401;
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  const doc = await response.json();
  document.getElementById("about").textContent = `${doc.info.description} Version ${doc.info.version}.`;
  const calls = Object.entries(doc.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, call]) => describe(path, method, call)));
  document.getElementById("calls").replaceChildren(...calls);
}

const start = (key) => main(key).catch((error) => { document.getElementById("about").textContent = error.message; });
document.getElementById("key").addEventListener("submit", (event) => {
  event.preventDefault();
  start(document.getElementById("secret").value.trim());
});
start("");
