// Try the model: choose, take, drop or paste pictures; see the classes, and where the model looked.
"use strict";

const SHOWN = 5; // classes before "all of them"
const KNOWN = 20; // classes named at the top
const AT_ONCE = 2; // requests under way
const TRIES = 5; // when the server is busy
const BUSY = "The server is busy";
const PATIENCE = 30000; // milliseconds until a server counts as gone

const $ = (id) => document.getElementById(id);
const percent = (share) => (share === 0 || share === 1 ? 100 * share : share < 0.0005 ? "<0.1" : share >= 0.9995 ? ">99.9" : (100 * share).toFixed(1)) + "\u00a0%";
const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
// Screen readers hear every status; what the answer below shows as well is not written a second time.
const say = (text, shown = false) => { $("status").textContent = text; $("status").classList.toggle("heard", shown); };

let model = null;
let key = "";
const waiting = [];
let running = 0;

class Refused extends Error {
  constructor(reason, again = false) {
    super(reason);
    this.again = again; // whether the same picture may be taken the next time
  }
}

async function ask(path, options = {}) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  for (let attempt = 1; ; attempt++) {
    let response;
    try {
      response = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(PATIENCE) });
    } catch {
      throw new Refused("The server does not answer. Is it still running?", true);
    }
    if (response.ok) {
      if (attempt > 1 && $("status").textContent.startsWith(BUSY)) say("");
      return response;
    }
    if (response.status === 503 && attempt < TRIES) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      say(`${BUSY}; trying again in ${seconds} s.`);
      await wait(seconds);
      continue;
    }
    if (response.status === 401) {
      $("key").hidden = false;
      $("secret").focus();
    }
    const body = await response.json().catch(() => ({}));
    throw new Refused(body.error ? capital(body.error) : `The server answered ${response.status}.`,
      ![400, 413, 415, 422].includes(response.status));
  }
}

const capital = (text) => text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

function form(file) {
  const data = new FormData();
  data.append("file", file, file.name || "pasted.png");
  return { method: "POST", body: data };
}

async function meet() {
  try {
    model = await (await ask("model")).json();
    const quantized = model.quantized ? ", 8 bits" : "";
    $("model").textContent = `${model.backbone}, ${model.classes.length} classes${quantized}, version ${model.version}`;
    const names = model.classes.slice(0, KNOWN).join(", ");
    const all = model.classes.length > KNOWN ? `, … (${model.classes.length} classes)` : "";
    $("classes").textContent = `Its classes: ${names}${all}.`; // also where a key was needed to know them
    $("text").replaceChildren(renderCard(model.card || "This model came without a card.", 1));
  } catch (error) {
    $("model").textContent = error.message;
  }
}

function add(files) {
  const pictures = [...files];
  if (!pictures.length) return;
  for (const file of pictures) {
    const view = new Result(file);
    $("results").prepend(view.article);
    waiting.push(view);
  }
  say(pictures.length > 1 ? `${pictures.length} pictures sent.` : "Picture sent.");
  work();
}

async function work() {
  while (running < AT_ONCE && waiting.length) {
    running++;
    waiting.shift().classify().finally(() => { running--; work(); });
  }
}

// What speaks against the answer, and the set of classes that holds the right one, as sentences.
function doubtsOf(answer) {
  const found = [];
  if (answer.unknown) found.push("Unknown: unlike the training pictures. This answer may mean nothing.");
  if (answer.uncertain) found.push("Uncertain: less sure than an answer should be.");
  if (answer.set && !answer.unknown) { // what a set promises holds for pictures like those of the training
    const level = `(${Number((100 * answer.set.level).toFixed(3))}\u00a0%)`;
    const names = answer.set.classes;
    found.push(names.length > 1 ? `It is ${listed(names)} ${level}.` : `No other class comes into question ${level}.`);
  }
  return found;
}

function listed(names) {
  const shown = names.slice(0, SHOWN);
  if (names.length > SHOWN) return `${shown.join(", ")} or ${names.length - SHOWN} more`;
  return shown.length > 1 ? `${shown.slice(0, -1).join(", ")} or ${shown.at(-1)}` : shown[0];
}

class Result {
  constructor(file) {
    this.file = file;
    this.article = $("result").content.cloneNode(true).querySelector("article");
    this.find = (selector) => this.article.querySelector(selector);
    this.find("h2").textContent = file.name || "Pasted picture";
    const photo = this.find(".photo");
    photo.alt = file.name || "Pasted picture";
    photo.addEventListener("load", () => photo.classList.toggle("small", photo.naturalWidth < 100));
    photo.addEventListener("error", () => { this.find(".pictures").hidden = true; });
    photo.src = URL.createObjectURL(file);
    this.find(".again").addEventListener("click", () => { waiting.push(this); work(); });
    this.find(".look").addEventListener("click", () => this.explain(this.best.class));
  }

  state(text, bad = false) {
    this.article.classList.toggle("bad", bad);
    this.find(".state").textContent = text;
  }

  async classify() {
    this.state("Waiting for the answer …");
    this.find(".again").hidden = true;
    try {
      if (model && this.file.size > model.max_body) {
        throw new Refused(`Too large: at most ${Math.floor(model.max_body / 2 ** 20)} MiB are allowed.`);
      }
      const answer = await (await ask("predict?top=1000", form(this.file))).json();
      this.show(answer.predictions[0]);
    } catch (error) {
      this.state(error.message, true);
      this.find(".again").hidden = !(error.again ?? true);
      say(`${this.find("h2").textContent}: ${error.message}`, true);
    }
  }

  show(answer) {
    this.best = answer;
    this.state("");
    this.find(".state").append(element("b", answer.class)); // its probability stands at its bar
    const doubts = doubtsOf(answer);
    this.article.classList.toggle("unknown", Boolean(answer.unknown));
    this.find(".doubts").replaceChildren(...doubts.map((text) => element("li", text)));
    this.find(".doubts").hidden = !doubts.length;
    const few = answer.top.length <= SHOWN + 1 ? answer.top.length : SHOWN;
    this.find(".bars").replaceChildren(...answer.top.slice(0, few).map((entry) => this.bar(entry)));
    const more = this.find(".more");
    more.hidden = few === answer.top.length;
    more.querySelector("summary").textContent = `The other ${answer.top.length - few} classes`;
    more.querySelector("ol").replaceChildren(...answer.top.slice(few).map((entry) => this.bar(entry)));
    say([`${this.find("h2").textContent}: ${answer.class}, ${percent(answer.probability)}.`, ...doubts].join(" "), true);
    if (model && model.explain === "cam") this.explain(answer.class);
    else this.find(".look").hidden = false;
  }

  bar(entry) {
    const row = document.createElement("li");
    const name = document.createElement("button");
    name.type = "button";
    name.textContent = entry.class;
    name.title = `Show where the model looks for ${entry.class}`;
    name.setAttribute("aria-pressed", "false");
    name.addEventListener("click", () => this.explain(entry.class));
    const share = document.createElement("span");
    share.className = "share";
    share.textContent = percent(entry.probability);
    const bar = document.createElement("div");
    bar.className = "bar";
    bar.setAttribute("aria-hidden", "true");
    bar.append(document.createElement("i"));
    bar.firstChild.style.width = `${100 * entry.probability}%`;
    row.append(name, share, bar);
    return row;
  }

  async explain(label) {
    const map = this.find(".map");
    const image = map.querySelector("img");
    const caption = map.querySelector("figcaption");
    this.asked = label;
    this.find(".look").hidden = true;
    for (const button of this.article.querySelectorAll(".bars button")) {
      button.setAttribute("aria-pressed", String(button.textContent === label));
    }
    map.hidden = false;
    caption.textContent = "Looking …";
    try {
      const response = await ask(`explain?class=${encodeURIComponent(label)}`, form(this.file));
      const address = URL.createObjectURL(await response.blob());
      if (this.asked !== label) { URL.revokeObjectURL(address); return; }
      if (image.src) URL.revokeObjectURL(image.src);
      image.src = address;
      image.alt = `The picture; what is bright counted for ${label}`;
      caption.textContent = `Where it looked for ${label}`;
    } catch (error) {
      if (this.asked === label) caption.textContent = error.message;
    }
  }
}

const openCard = () => { if (location.hash === "#card") $("card").open = true; };
addEventListener("hashchange", openCard);
openCard();

for (const id of ["files", "camera"]) {
  $(id).addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
}
document.addEventListener("paste", (event) => add([...event.clipboardData.files]));
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); $("drop").classList.remove("over"); });
}
document.addEventListener("drop", (event) => add(event.dataTransfer.files));
$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("secret").value.trim();
  $("secret").value = "";
  $("key").hidden = true;
  meet();
});
meet();
