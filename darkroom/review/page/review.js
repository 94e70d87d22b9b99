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
const selected = new Set(); // ids
const undoing = []; // steps, the last at the end: changes that undo each

const say = (text) => { $("status").textContent = text; clearTimeout(say.timer); say.timer = setTimeout(() => { $("status").textContent = ""; }, 4000); };
const warn = (text, mild = false) => { const box = $("alert"); box.hidden = !text; box.textContent = text; box.classList.toggle("mild", mild); };
const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
const inHand = () => items[hand] ?? null;
const tiles = () => [...$("grid").children];

// --- lists

async function refresh() {
  const fresh = await get("state");
  if (state && fresh.version < state.version) return; // an answer that was overtaken by a newer one
  state = fresh;
  inspector.classes = state.classes.map((one) => one.name);
  const { relabel, exclude, keep, unsure } = state.decisions;
  $("summary").textContent = `${counted(state.images, "image")} of ${state.source} · ${counted(relabel + exclude + keep + unsure, "decision")} in ${state.corrections}`
    + (relabel || exclude ? `: ${relabel} relabelled, ${exclude} excluded` : "") + (state.analysed ? "" : " · asking the model …");
  if (state.problem) warn(`The model's answers are missing: ${state.problem}`);
  else warn(state.warnings.join(" · "), true);
  drawLists();
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

async function go(name, at = 0, last = false) {
  queue = name;
  start = at;
  await load(last);
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

async function load(atEnd = false) {
  const asked = queue;
  await last; // what is decided already may leave the list
  if (queue !== asked) return;
  try {
    const whole = queue.startsWith("class:") || queue === "decided" || queue === "unsure";
    $("open").disabled = whole;
    const page = await get("queue", { name: queue, start, count: screenful(), open: !whole && $("open").checked });
    if (queue !== asked) return;
    if (!page.items.length && start > 0) { start = Math.max(0, start - screenful()); await load(true); return; }
    items = page.items;
    total = page.total;
    start = page.start;
  } catch (error) {
    warn(error.message);
    return;
  }
  selected.clear();
  hand = atEnd ? Math.max(0, items.length - 1) : 0;
  location.replace(`#${encodeURIComponent(queue)}/${start}`);
  drawGrid();
}

function drawGrid() {
  const facts = state?.queues.find((one) => one.name === queue);
  $("title").textContent = facts?.title ?? (queue.startsWith("class:") ? queue.slice(6) : "");
  $("about").textContent = facts?.about ?? "All pictures of this class, the least likely first.";
  $("grid").style.setProperty("--tile", `${SIZES[size]}rem`);
  $("grid").hidden = !items.length;
  $("grid").replaceChildren(...items.map(tile));
  $("nothing").hidden = items.length > 0;
  $("nothing").textContent = !state?.analysed && queue === "errors" ? "The model is being asked about every image …"
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
  const guess = item.proposal ? `${item.proposal.class}? ${percent(item.proposal.probability, 0)}` : item.pictured ? "" : item.why ?? "";
  box.querySelector(".name").textContent = item.label && item.label !== item.was ? `${item.was || "new"} → ${item.label}` : item.was || "no label";
  box.querySelector(".guess").textContent = guess || "\u00a0";
  box.querySelector(".mark").textContent = item.decision ? WORDS[item.decision] + (item.saving ? " …" : "") : "";
  box.setAttribute("aria-label", `${item.location}, ${item.was ? `labelled ${item.was}` : "no label"}${guess ? `, ${guess}` : ""}${item.decision ? `, ${WORDS[item.decision]}` : ""}`);
}

function redress() { tiles().forEach((box, place) => { if (items[place]) dress(box, items[place]); }); }

function drawHand() {
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
  const open = $("open").checked && !$("open").disabled;
  const left = open ? items.filter((item) => !item.decision).length : items.length; // the decided ones leave the list
  const next = pages > 0 ? start + left : Math.max(0, start - screenful());
  if (pages > 0 && (next >= total && left === items.length)) { say("This is the end of the list."); return; }
  if (pages < 0 && start === 0) { say("This is the start of the list."); return; }
  start = next;
  await load(pages < 0);
  await refresh();
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

function decideNow(decision, becomes = "") {
  const chosen = selected.size ? items.filter((item) => selected.has(item.id)) : [inHand()].filter(Boolean);
  if (!chosen.length) return;
  const note = $("note").value.trim();
  const changes = chosen.map((item) => {
    const guess = item.unlabelled && decision === "keep"; // there is no label to keep but the model's
    return { id: item.id, decision: guess ? "relabel" : decision, becomes: guess ? item.proposal.class : becomes, queue, note };
  });
  $("note").value = "";
  const several = selected.size > 0;
  send(chosen, changes, true);
  const what = decision === "relabel" ? `relabelled as ${becomes}` : decision === "none" ? "decision withdrawn" : WORDS[decision];
  say(`${several ? counted(chosen.length, "picture") : chosen[0].location}: ${what}. Z undoes.`);
  selected.clear();
  advance(chosen);
}

async function send(chosen, changes, remember) {
  const before = chosen.map((item) => ({ label: item.label, decision: item.decision }));
  chosen.forEach((item, place) => show(item, changes[place]));
  redress();
  if (chosen.includes(inHand())) inspector.draw();
  try {
    const { undo, version } = await decide(changes);
    if (remember) undoing.push(undo);
    if (version === known + 1) known = version; // otherwise somebody else has decided, too: `watch` looks
    chosen.forEach((item) => { item.saving = false; });
    if (!unsaved) refresh().catch((error) => warn(error.message)); // the decision itself is saved
  } catch (error) {
    chosen.forEach((item, place) => Object.assign(item, before[place], { saving: false }));
    warn(error.message);
    say("Not saved.");
  }
  $("undo").disabled = !undoing.length;
  redress();
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
  const order = [...items.keys()].map((step) => (from + 1 + step) % items.length);
  const next = order.find((place) => !items[place].decision);
  if (next !== undefined) move(next);
  else if (queue.startsWith("class:") || queue === "decided" || queue === "unsure") move(from + 1);
  else last.then(() => turnAfter());
}

async function turnAfter() {
  const open = $("open").checked;
  start = open ? start : Math.min(start + items.length, Math.max(0, total - 1));
  await load();
  await refresh();
  drawGrid();
  focusTile();
}

async function undo() {
  const changes = undoing.pop();
  $("undo").disabled = !undoing.length;
  if (!changes) { say("There is nothing to undo."); return; }
  const chosen = changes.map((change) => items.find((item) => item.id === change.id) ?? { id: change.id });
  await send(chosen, changes.map((change) => ({ ...change, queue })), false);
  const place = items.findIndex((item) => item.id === changes[0].id);
  if (place >= 0) move(place);
  else { await load(); focusTile(); }
  say(`Undone: ${counted(changes.length, "decision")}.`);
}

// --- keys

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
  const onButton = event.target.matches("button, summary, input, a");
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across(), ArrowUp: -across() };
  if (pressed in steps) step(steps[pressed], event.shiftKey);
  else if (pressed >= "1" && pressed <= "9" && inspector.labels[pressed - 1]) decideNow("relabel", inspector.labels[pressed - 1]);
  else if (pressed in DECIDE) decideNow(DECIDE[pressed]);
  else if (pressed === "r" || pressed === "/") { if (inHand()) typing.begin(); }
  else if (pressed === "z") undo();
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

function step(by, extend) {
  const to = hand + by;
  if (extend) select(hand, Math.min(Math.max(to, 0), items.length - 1));
  if (to >= items.length && by === 1) turn(1);
  else if (to < 0 && by === -1) turn(-1);
  else if (to >= 0 && to < items.length) move(to);
}

async function neighbour(by) {
  const names = [...state.queues.map((one) => one.name), ...state.classes.map((one) => `class:${one.name}`)];
  await go(names[(names.indexOf(queue) + by + names.length) % names.length]);
  focusTile();
}

// --- beginning, and what others do meanwhile

async function watch() {
  try {
    const { version, analysed } = await get("version");
    const news = analysed !== state.analysed;
    if (!unsaved && (version !== known || version !== state.version || news)) {
      await refresh();
      if (news && (!items.length || queue === "errors" || queue.startsWith("class:"))) await load();
      else if (items.length) {
        const [shown, before] = [items, decisions];
        const fresh = await get("items", { id: shown.map((item) => item.id) });
        if (shown !== items || before !== decisions) { setTimeout(watch, 0); return; } // it speaks of what was shown before
        fresh.items.forEach((item, place) => Object.assign(shown[place], item));
        drawHand();
      }
      known = version;
    }
    if ($("alert").textContent === LATE) warn("");
  } catch (error) {
    warn(error.message);
  }
  setTimeout(watch, state?.analysed ? EVERY : 500);
}

async function begin() {
  inspector.choose = (label) => decideNow("relabel", label);
  try {
    await refresh();
    known = state.version;
  } catch (error) {
    warn(error.message);
    return;
  }
  if (innerWidth > 1120) $("lists").open = true;
  const [name, at] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const fallback = state.queues.some((one) => one.name === "errors") || !state.analysed ? "errors" : state.queues[0].name;
  if (!state.queues.some((one) => one.name === "errors") && !name) queue = "errors";
  if (state.analysed || name) await go(name || fallback, Number(at) || 0);
  else drawGrid();
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
$("undo").addEventListener("click", undo);
$("help").addEventListener("click", () => $("keys").showModal());
$("zoom").addEventListener("click", () => inspector.zoom());
$("close").addEventListener("click", () => $("original").close());
$("original-picture").addEventListener("click", (event) => event.target.classList.toggle("whole"));
$("original").addEventListener("close", focusTile);
$("keys").addEventListener("close", focusTile);
$("previous").addEventListener("click", () => turn(-1));
$("next").addEventListener("click", () => turn(1));
$("open").addEventListener("change", async () => { start = 0; await load(); });
$("filter").addEventListener("input", drawLists);
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
