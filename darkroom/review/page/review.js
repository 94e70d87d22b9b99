// The light table: lists at the left, a screenful of pictures, and keys that decide about the one in hand or all selected.
"use strict";

const WORDS = { keep: "kept", relabel: "relabelled", exclude: "excluded", unsure: "not sure" };
const SIZES = [4.5, 6.5, 8.5, 11, 15]; // rem of a tile's side
const FEW = 12; // classes that are listed without a field to find one in
const EVERY = 3000; // milliseconds between two looks at whether somebody else has decided

let state = null; // of the run, as the server tells it
let queue = "errors";
let start = 0;
let total = 0;
let items = [];
let hand = 0; // the place of the picture in hand
let size = 2;
let known = 0; // version of the decisions that is shown
let asked = 0; // screenfuls asked for so far; only the last one is shown
let arrived = 0; // the last one that came, or failed
const selected = new Set(); // ids
const undoing = []; // steps, the last at the end: the server's answer to each, which holds its number

const say = (text) => { $("status").textContent = text; clearTimeout(say.timer); say.timer = setTimeout(() => { $("status").textContent = ""; }, 4000); };
const warn = (text, mild = false) => { const box = $("alert"); box.hidden = !text; box.textContent = text; box.classList.toggle("mild", mild); };
const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
const brief = (name, most = 60) => { // of a long name the middle is left out, and what would reorder the words after it
  const signs = [...name.replace(/[\u202a-\u202e\u2066-\u2069]/g, "")];
  const half = Math.floor(most / 2);
  return signs.length > most ? `${signs.slice(0, half - 2).join("")}…${signs.slice(-half).join("")}` : signs.join("");
};
const inHand = () => items[hand] ?? null;
const tiles = () => [...$("grid").children];
const loading = () => arrived !== asked;
const isWhole = (name) => name.startsWith("class:") || name === "decided" || name === "unsure"; // shown with the decided ones
const isListed = (name) => name.startsWith("class:") || state.queues.some((one) => one.name === name);
const look = () => refresh().catch((error) => warn(error.message));

// --- lists

async function refresh() {
  const fresh = await get("state");
  if (state && fresh.version < state.version) return; // an answer that was overtaken by a newer one
  state = fresh;
  inspector.classes = state.classes.map((one) => one.name);
  drawSummary();
  if (state.problem) warn(`The model's answers are missing: ${state.problem}`);
  else warn(state.warnings.join(" · "), true);
  drawLists();
}

function drawSummary() {
  const { relabel, exclude, keep, unsure } = state.decisions;
  $("summary").textContent = `${counted(state.images, "image")} of ${state.source} · ${counted(relabel + exclude + keep + unsure, "decision")} in ${state.corrections}`
    + (relabel || exclude ? `: ${relabel} relabelled, ${exclude} excluded` : "") + (state.progress ? ` · ${state.progress} …` : "");
}

function drawLists() {
  const chosen = state.queues.find((one) => one.name === queue);
  $("chosen").textContent = chosen ? `${chosen.title} (${chosen.open})` : queue.replace("class:", "");
  $("queues").replaceChildren(...state.queues.map((one) => listButton(one.name, one.title, one.name === "decided" ? one.total : one.open, one.count)));
  $("filter").hidden = state.classes.length <= FEW;
  const wanted = $("filter").value.trim().toLowerCase();
  const shown = state.classes.filter((one) => one.name.toLowerCase().includes(wanted));
  $("classes").replaceChildren(...shown.map((one) => listButton(`class:${one.name}`, one.name, one.count, one.count, !one.learnt)));
}

function listButton(name, title, open, count, lost = false) {
  const row = make("li");
  const button = make("button");
  button.type = "button";
  button.setAttribute("aria-current", String(name === queue));
  const number = make("span", `count${count && !open ? " none" : ""}${lost ? " lost" : ""}`, count && !open ? "✓" : open.toLocaleString("en"));
  if (count && !open) number.setAttribute("aria-label", "all decided");
  button.append(make("span", "", title), number);
  button.addEventListener("click", () => { if (innerWidth <= 1120) $("lists").open = false; go(name); });
  row.append(button);
  return row;
}

async function go(name, at = 0) {
  await load(name, at);
  if (state) drawLists();
}

// --- a screenful

function screenful() {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  if (innerWidth <= 704) return 24;
  $("grid").hidden = false; // what is hidden has no size
  $("nothing").hidden = true;
  const across = Math.max(1, Math.floor(($("grid").clientWidth - 8 + 8) / (SIZES[size] * rem + 8)));
  const width = ($("grid").clientWidth - 8 - (across - 1) * 8) / across;
  const down = Math.max(1, Math.floor(($("grid").clientHeight - 8 + 8) / (width + 2.9 * rem + 8)));
  return Math.min(400, Math.max(4, across * down));
}

// Shows a screenful of a list, once it is here: until then everything stays as it is, and nothing is decided.
async function load(name = queue, at = start, atEnd = false) {
  const mine = ++asked;
  await last; // what is decided already may leave the list
  try {
    const wanted = { name, start: at, count: screenful(), open: !isWhole(name) && $("open").checked };
    let page = await get("queue", wanted);
    if (!page.items.length && at > 0) page = await get("queue", { ...wanted, start: Math.max(0, page.total - wanted.count) });
    if (mine === asked) take(name, page, atEnd);
  } catch (error) {
    if (mine === asked) warn(error.message);
  } finally {
    if (mine === asked) arrived = mine;
  }
}

function take(name, page, atEnd) {
  const held = name === queue ? page.items.findIndex((item) => item.id === inHand()?.id) : -1;
  queue = name;
  items = page.items;
  total = page.total;
  start = page.start;
  selected.clear();
  hand = held >= 0 ? held : atEnd ? Math.max(0, items.length - 1) : 0;
  $("open").disabled = isWhole(queue);
  location.replace(`#${encodeURIComponent(queue)}/${start}`);
  drawGrid();
}

function drawGrid() {
  const facts = state?.queues.find((one) => one.name === queue);
  $("title").textContent = facts?.title ?? (queue.startsWith("class:") ? queue.slice(6) : "");
  $("about").textContent = facts?.about ?? "All pictures of this class, the least likely first.";
  $("rename").hidden = !queue.startsWith("class:") || !items.length;
  $("grid").style.setProperty("--tile", `${SIZES[size]}rem`);
  $("grid").hidden = !items.length;
  $("grid").replaceChildren(...items.map(tile));
  $("nothing").hidden = items.length > 0;
  $("nothing").textContent = (!state || state.progress) && !facts && !queue.startsWith("class:") ? "The model is being asked about every image. This list comes when it has answered."
    : facts?.count ? "Everything in this list is decided." : "Nothing to look at here.";
  const end = start + items.length;
  $("range").textContent = total ? `${(start + 1).toLocaleString("en")}–${end.toLocaleString("en")} of ${total.toLocaleString("en")}` : "";
  $("previous").disabled = start === 0;
  $("next").disabled = end >= total;
  drawHand();
}

function tile(item) {
  const box = make("div", "tile");
  box.id = `tile-${item.id}`;
  box.setAttribute("role", "option");
  const image = make("img");
  image.alt = "";
  showPicture(image, item);
  const text = make("div", "words");
  text.append(make("span", "name"), make("span", "guess"));
  box.append(image, text, make("span", "mark"));
  box.addEventListener("click", (event) => {
    const place = items.indexOf(item);
    if (event.shiftKey) select(hand, place);
    else if (event.ctrlKey || event.metaKey) toggle(place);
    move(place, true);
  });
  dress(box, item);
  return box;
}

function dress(box, item) {
  box.className = `tile ${item.decision}${item.saving ? " saving" : ""}${item === inHand() ? " hand" : ""}`;
  box.tabIndex = item === inHand() ? 0 : -1;
  box.setAttribute("aria-selected", String(selected.has(item.id)));
  const told = (most) => (item.proposal ? `${brief(item.proposal.class, most)}? ${percent(item.proposal.probability, 0)}` : item.pictured ? "" : item.why ?? "");
  const [guess, fits] = [told(Infinity), Math.round(2.2 * SIZES[size])]; // classes often begin alike: of each the end is shown, too
  box.querySelector(".name").textContent = item.label && item.label !== item.was ? `${item.was || "new"} → ${item.label}` : brief(item.was, fits) || "no label";
  box.querySelector(".guess").textContent = told(fits - 5) || "\u00a0";
  box.querySelector(".mark").textContent = item.decision ? WORDS[item.decision] + (item.saving ? " …" : "") : "";
  box.setAttribute("aria-label", `${item.location}, ${item.was ? `labelled ${item.was}` : "no label"}${guess ? `, ${guess}` : ""}${item.decision ? `, ${WORDS[item.decision]}` : ""}`);
}

function redress() {
  tiles().forEach((box, place) => { if (items[place]) dress(box, items[place]); });
  drawUndo();
}

function drawHand() {
  if (inspector.item?.id !== inHand()?.id && !selected.size) $("note").value = ""; // it was about the picture before
  redress();
  inspector.show(inHand(), queue);
}

function focusTile() { tiles()[hand]?.focus({ preventScroll: true }); tiles()[hand]?.scrollIntoView({ block: "nearest", inline: "nearest" }); }

function move(place, focus = true) {
  if (!items.length) return;
  hand = Math.min(Math.max(place, 0), items.length - 1);
  drawHand();
  if (focus) focusTile();
}

function across() {
  const tops = tiles().map((box) => box.offsetTop);
  const first = tops.findIndex((top) => top !== tops[0]);
  return first < 0 ? tops.length || 1 : first;
}

async function turn(pages) {
  if (loading()) return;
  const open = $("open").checked && !$("open").disabled;
  const left = open ? items.filter((item) => !item.decision).length : items.length; // the decided ones leave the list
  const next = pages > 0 ? start + left : Math.max(0, start - screenful());
  if (pages > 0 && (next >= total && left === items.length)) { say("This is the end of the list."); return; }
  if (pages < 0 && start === 0) { say("This is the start of the list."); return; }
  await load(queue, next, pages < 0);
  await look();
  focusTile();
}

// --- selecting

function toggle(place) {
  const { id } = items[place];
  if (!selected.delete(id)) selected.add(id);
  redress();
}

function select(from, to) {
  const [low, high] = [Math.min(from, to), Math.max(from, to)];
  for (const item of items.slice(low, high + 1)) selected.add(item.id);
  redress();
}

// --- deciding

const inChoice = () => (selected.size ? items.filter((item) => selected.has(item.id)) : [inHand()].filter(Boolean));

function sayLoading() {
  if (loading()) say("Other pictures are coming; press it again when they are here.");
  return loading();
}

// `chosen`: what the person saw when the decision was begun, such as a label that was typed meanwhile.
function decideNow(decision, becomes = "", chosen = null) {
  if (!chosen && sayLoading()) return;
  chosen ??= inChoice();
  if (!chosen.length) return;
  const note = $("note").value.trim();
  const changes = chosen.map((item) => {
    const guess = item.unlabelled && decision === "keep"; // there is no label to keep but the model's
    return { id: item.id, decision: guess ? "relabel" : decision, becomes: guess ? item.proposal.class : becomes, queue, note };
  });
  $("note").value = "";
  const several = chosen.length > 1;
  send(chosen, changes);
  const what = decision === "relabel" ? `relabelled as ${brief(becomes)}` : decision === "none" ? "decision withdrawn" : WORDS[decision];
  say(`${several ? counted(chosen.length, "picture") : brief(chosen[0].location)}: ${what}. Z undoes.`);
  selected.clear();
  advance(chosen);
}

async function send(chosen, changes) {
  const before = chosen.map((item) => ({ label: item.label, decision: item.decision }));
  chosen.forEach((item, place) => show(item, changes[place]));
  redress();
  if (chosen.includes(inHand())) inspector.draw();
  const sent = remember(post("decide", { changes }));
  try {
    const { copies } = took(await sent);
    chosen.forEach((item) => { item.saving = false; });
    for (const copy of copies) Object.assign(items.find((item) => item.id === copy.id) ?? {}, copy);
  } catch (error) {
    chosen.forEach((item, place) => Object.assign(item, before[place], { saving: false }));
    failed(error, sent);
  } finally {
    redress();
  }
}

// The picture in hand, where this page has nothing to undo and the list is one of decisions: the file has what was before.
function decidedEarlier() {
  return !undoing.length && ["decided", "unsure"].includes(queue) && inHand()?.decision ? inHand() : null;
}

function drawUndo() { $("undo").disabled = !undoing.length && !decidedEarlier(); }

// At once: what is undone next is the last step, saved yet or not.
function remember(sent) {
  undoing.push(sent);
  drawUndo();
  return sent;
}

function took(answer) {
  if (answer.version === known + 1) known = answer.version; // otherwise somebody else has decided, too: `watch` looks
  if (!unsaved) look();
  return answer;
}

function failed(error, sent = null) {
  if (undoing.includes(sent)) undoing.splice(undoing.indexOf(sent), 1);
  drawUndo();
  known = -1; // whether it was saved before the answer was lost, or another decision came after it: `watch` looks
  warn(error.message);
  say("Not saved.");
}

// Another label for all pictures of the class that is shown, those on other pages included.
async function rename(label, becomes) {
  const note = $("note").value.trim();
  $("note").value = "";
  const sent = remember(post("rename", { label, becomes, note }));
  const shown = asked;
  try {
    const { count, label: now } = took(await sent);
    say(`${brief(label)} is ${brief(now)} now: ${counted(count, "picture")}. Z undoes.`);
    await look();
    if (shown !== asked) return; // another list has been opened meanwhile
    await go(`class:${now}`);
    focusTile();
  } catch (error) {
    failed(error, sent);
  }
}

function show(item, change) {
  const kept = change.decision === "relabel" && change.becomes === item.was;
  item.decision = change.decision === "none" ? "" : kept ? "keep" : change.decision;
  item.label = change.decision === "exclude" ? "" : change.decision === "relabel" ? change.becomes : item.was;
  item.saving = true;
}

// The next picture without a decision; with none left on this page, the next page.
function advance(chosen) {
  const from = items.indexOf(chosen[chosen.length - 1]);
  if (from < 0) return; // another screenful is shown by now
  const order = [...items.keys()].map((step) => (from + 1 + step) % items.length);
  const next = order.find((place) => !items[place].decision);
  if (next !== undefined) move(next);
  else if (!isWhole(queue)) turnAfter();
  else if (from + 1 < items.length) move(from + 1);
  else if (start + items.length < total) turn(1);
}

async function turnAfter() {
  await load(queue, $("open").checked ? start : Math.min(start + items.length, Math.max(0, total - 1)));
  await look();
  drawGrid();
  focusTile();
}

async function undo() {
  const sent = undoing.pop();
  drawUndo();
  const earlier = sent ? null : decidedEarlier();
  if (!sent && !earlier) { say("There is nothing to undo. What was decided before this page was opened is in Decided, the newest first: there Z undoes it."); return; }
  let step = 0;
  try {
    if (sent) ({ step } = await sent);
  } catch {
    return; // it was not saved, and `send` has said so
  }
  try {
    const { items: back, undone, left } = took(await post("undo", { step, id: earlier?.id ?? "" }));
    for (const fresh of back) Object.assign(items.find((item) => item.id === fresh.id) ?? {}, fresh);
    const place = items.findIndex((item) => back.some((fresh) => fresh.id === item.id));
    if (place >= 0) move(place);
    else { await look(); await load(); focusTile(); }
    say((undone ? `Undone: ${counted(undone, "decision")}.` : "Nothing was undone.")
      + (left ? ` About ${counted(left, "picture")} somebody has decided since, and that stays.` : ""));
  } catch (error) {
    if (sent) undoing.push(sent); // it is undone the next time
    failed(error);
  }
}

// --- keys

const REPEATED = new Set(["ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", "PageDown", "PageUp"]);
const DECIDE = { k: "keep", e: "exclude", u: "unsure", w: "none" };

function key(event) {
  if (event.target.id === "new-label") { typing.key(event); return; }
  if (document.querySelector("dialog[open]")) {
    if (event.key.toLowerCase() === "o" && $("original").open) $("original").close();
    return;
  }
  if (event.target.matches("input:not([type=checkbox])")) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target.id === "note")) focusTile();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (!act(event)) return;
  event.preventDefault();
}

function act(event) {
  const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.repeat && !REPEATED.has(pressed)) return false; // a key that is held decides once
  const onButton = event.target.matches("button, summary, input, a");
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across(), ArrowUp: -across() };
  if (pressed in steps) step(steps[pressed], event.shiftKey);
  else if (pressed >= "1" && pressed <= "9" && pressed.length === 1) decideByNumber(pressed - 1);
  else if (pressed in DECIDE) decideNow(DECIDE[pressed]);
  else if (pressed === "r" || pressed === "/") { if (inHand()) typing.begin(); }
  else if (pressed === "z") undo();
  else if (pressed === "m") { if (!$("rename").hidden) typing.begin(queue.slice(6)); }
  else if (pressed === " " && !onButton) { if (inHand()) toggle(hand); }
  else if (pressed === "a") { if (selected.size === items.length) selected.clear(); else select(0, items.length - 1); redress(); }
  else if (pressed === "Escape") { selected.clear(); redress(); }
  else if (pressed === "o" || (pressed === "Enter" && !onButton)) { if (inHand()) inspector.zoom(); }
  else if (pressed === "n") $("note").focus();
  else if (pressed === "PageDown") turn(1);
  else if (pressed === "PageUp") turn(-1);
  else if (pressed === "Home") move(0);
  else if (pressed === "End") move(items.length - 1);
  else if (pressed === "[" || pressed === "]") neighbour(pressed === "]" ? 1 : -1);
  else if (pressed === "?") $("keys").showModal();
  else return false;
  return true;
}

function decideByNumber(place) {
  if (sayLoading()) return;
  if (!inspector.isSettled()) say("The labels of this picture are just coming; press it again.");
  else if (inspector.labels[place]) decideNow("relabel", inspector.labels[place]);
}

function step(by, extend) {
  const to = hand + by;
  if (extend) select(hand, Math.min(Math.max(to, 0), items.length - 1));
  if (to >= items.length && by === 1) turn(1);
  else if (to < 0 && by === -1) turn(-1);
  else if (to >= 0 && to < items.length) move(to);
}

async function neighbour(by) {
  if (!state) return;
  const names = [...state.queues.map((one) => one.name), ...state.classes.map((one) => `class:${one.name}`)];
  await go(names[(names.indexOf(queue) + by + names.length) % names.length]);
  focusTile();
}

// --- beginning, and what others do meanwhile

async function watch() {
  try {
    const { version, progress, lists } = await get("version");
    const news = lists !== state.lists || !progress !== !state.progress;
    state.progress = progress;
    drawSummary();
    if (!unsaved && (version !== known || version !== state.version || news)) {
      await refresh();
      if (news && !items.length) await (isListed(queue) ? load() : drawGrid()); // pictures that are shown stay where they are
      else if (items.length) {
        const [shown, before] = [items, decisions];
        const fresh = unsaved ? null : await get("items", { id: shown.map((item) => item.id) });
        if (!fresh || shown !== items || before !== decisions) { // it would speak of what was shown, or decided, before
          setTimeout(watch, 50);
          return;
        }
        fresh.items.forEach((item, place) => Object.assign(shown[place], item));
        drawHand();
      }
      known = version;
    }
    if ($("alert").textContent === LATE) warn("");
  } catch (error) {
    warn(error.message);
  }
  setTimeout(watch, state?.progress ? 500 : EVERY);
}

// The list and the start that the address names: whatever stands there.
function fromAddress() {
  try {
    const [name, at] = location.hash.slice(1).split("/").map(decodeURIComponent);
    return [name, Math.max(0, Math.trunc(Number(at))) || 0];
  } catch {
    return ["", 0];
  }
}

async function begin() {
  inspector.choose = (label, chosen) => decideNow("relabel", label, chosen);
  inspector.rename = rename;
  try {
    await refresh();
    known = state.version;
  } catch (error) {
    warn(error.message);
    return;
  }
  if (innerWidth > 1120) $("lists").open = true;
  const [name, at] = fromAddress();
  queue = name || (isListed("errors") || state.progress ? "errors" : state.queues[0].name);
  start = at;
  if (!state.progress || isListed(queue)) await go(queue, start);
  else drawGrid(); // a list of the model's: `watch` loads it when it is there
  focusTile();
  setTimeout(watch, 500);
}

document.addEventListener("keydown", key);
for (const [id, decision] of [["keep", "keep"], ["exclude", "exclude"], ["unsure", "unsure"]]) {
  $(id).addEventListener("click", () => decideNow(decision));
}
$("relabel").addEventListener("click", () => typing.begin());
$("new-label").addEventListener("input", () => typing.match());
$("new-label").addEventListener("blur", () => setTimeout(() => { if (document.activeElement?.id !== "new-label") $("typing").hidden = true; }, 100));
$("typing").addEventListener("submit", (event) => { event.preventDefault(); typing.take(typing.at); });
$("rename").addEventListener("click", () => typing.begin(queue.slice(6)));
$("undo").addEventListener("click", undo);
$("help").addEventListener("click", () => $("keys").showModal());
$("zoom").addEventListener("click", () => inspector.zoom());
$("close").addEventListener("click", () => $("original").close());
$("original-picture").addEventListener("click", (event) => event.target.classList.toggle("whole"));
$("original").addEventListener("close", focusTile);
$("keys").addEventListener("close", focusTile);
$("previous").addEventListener("click", () => turn(-1));
$("next").addEventListener("click", () => turn(1));
$("open").addEventListener("change", () => load(queue, 0));
$("filter").addEventListener("input", () => { if (state) drawLists(); });
for (const [id, by] of [["smaller", -1], ["larger", 1]]) {
  $(id).addEventListener("click", async () => {
    size = Math.min(Math.max(size + by, 0), SIZES.length - 1);
    $("grid").style.setProperty("--tile", `${SIZES[size]}rem`);
    await load();
  });
}
let resized = 0;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(() => { if (items.length !== Math.min(screenful(), total - start)) load(); }, 300); });
begin();
