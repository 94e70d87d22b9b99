"use strict";
const shown = JSON.parse(document.getElementById("shown").textContent);
const { classes, shots } = shown;
const AT_ONCE = innerWidth < 700 ? 24 : 60;
const percent = (share) => (share === 0 || share === 1 ? 100 * share : share < 0.0005 ? "<0.1" : share >= 0.9995 ? ">99.9" : (100 * share).toFixed(1)) + "\u00a0%";
const name = (label) => (label < 0 ? "no answer" : classes[label]);
const confidence = (shot) => (shot.p.length ? shot.p[0][1] : 0);
const isRight = (shot) => shot.l === shot.a;
const lead = (shot) => (shot.p.length > 1 ? shot.p[0][1] - shot.p[1][1] : 1);

/** An element with properties, and children or text. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A file's name with the signs written out that would turn what follows them round. */
const written = (file) => file.replace(/[\u202a-\u202e\u2066-\u2069]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16)}`);

/** Text that may break after _ / - and . */
const soft = (text) => text.split(/(?<=[_/.-])(?=.)/).flatMap((part, i) => (i ? [make("wbr"), part] : [part]));

// The grid of pictures, and what is chosen from it.
const form = document.querySelector(".filters");
const grid = document.getElementById("grid");
let chosen = [];
let visible = 0;

const KINDS = {
  all: () => true,
  wrong: (shot) => !isRight(shot),
  right: isRight,
  suspect: (shot) => shot.s === 1,
  uncertain: () => true,
};

function choose() {
  const { show, actual, answer, from, to } = form.elements;
  form.elements.least.value = from.value + " %";
  form.elements.most.value = to.value + " %";
  chosen = shots.filter(
    (shot) =>
      KINDS[show.value](shot) &&
      (show.value === "suspect" || !shot.v) &&
      (actual.value === "" || shot.l === +actual.value) &&
      (answer.value === "" || shot.a === +answer.value) &&
      100 * confidence(shot) >= +from.value - 0.05 &&
      100 * confidence(shot) <= +to.value + 0.05,
  );
  if (show.value === "uncertain") chosen.sort((a, b) => lead(a) - lead(b));
  grid.replaceChildren();
  visible = 0;
  showMore();
}

function showMore() {
  const next = chosen.slice(visible, visible + AT_ONCE);
  grid.append(...next.map((shot, i) => tile(shot, visible + i)));
  visible += next.length;
  const more = document.getElementById("more");
  more.hidden = visible >= chosen.length;
  more.textContent = `Show more (${(chosen.length - visible).toLocaleString("en")} left)`;
  const test = shots.filter((shot) => !shot.v).length;
  const whole = test < shown.tested ? ` This file holds ${test.toLocaleString("en")} of the ${shown.tested.toLocaleString("en")} test images${shown.wrong_held < shown.wrong ? `, and ${shown.wrong_held.toLocaleString("en")} of ${shown.wrong.toLocaleString("en")} wrong answers` : ", every wrong answer among them"}.` : "";
  document.getElementById("count").textContent =
    (chosen.length ? `${chosen.length.toLocaleString("en")} picture${chosen.length === 1 ? "" : "s"}.` : "No picture fits.") + whole;
}

function tile(shot, position) {
  const kind = (isRight(shot) ? "right" : "wrong") + (shot.s ? " suspect" : "");
  const button = make(
    "button",
    { type: "button", className: kind },
    make("img", { src: shot.src, alt: "", decoding: "async" }),
    make("span", { className: "said" }, make("span", {}, ...soft(name(shot.a))), " ", make("span", {}, shot.p.length ? percent(confidence(shot)) : "")),
  );
  if (!isRight(shot)) button.append(make("span", {}, `${shot.s ? "label" : "actual"}: `, ...soft(name(shot.l))));
  button.append(make("span", { className: "file", title: written(shot.f) }, ...soft(written(shot.f.split("::").at(-1)))));
  button.addEventListener("click", () => open(position));
  return button;
}

// The dialog with one large picture.
const dialog = document.getElementById("picture");
let current = 0;

function open(position) {
  current = (position + chosen.length) % chosen.length;
  const shot = chosen[current];
  dialog.querySelector("h2").textContent = isRight(shot) ? `${name(shot.a)}: right` : `${name(shot.l)} answered ${name(shot.a)}`;
  const [image, veil] = dialog.querySelectorAll(".frame img");
  image.src = shot.src;
  image.alt = name(shot.l);
  const look = dialog.querySelector(".look");
  look.hidden = !shot.h;
  if (shot.h) veil.src = shot.h;
  veil.hidden = !shot.h || !look.querySelector("input").checked;
  const told = [["label", name(shot.l)], ["answer", name(shot.a)], ["file", written(shot.f)], ["from", shot.v ? "validation images" : "test images"]];
  if (shot.s) told.push(["beware", "the label looks wrong"]);
  dialog.querySelector("dl").replaceChildren(...told.flatMap(([key, value]) => [make("dt", {}, key), make("dd", {}, value)]));
  const shares = shot.p.some(([label]) => label === shot.l) || shot.q === null ? shot.p : [...shot.p, [shot.l, shot.q]];
  dialog.querySelector(".shares").replaceChildren(
    ...shares.map(([label, share]) => {
      const row = make("div", { className: label === shot.l ? "truth" : "" },
        make("span", {}, name(label) + (label === shot.l ? " (label)" : "")), make("span", {}, percent(share)));
      row.style.setProperty("--share", share);
      return row;
    }),
  );
  const near = (shot.n || []).map((number) => {
    const { src, l } = shown.near[number];
    return make("figure", {}, make("img", { src, alt: "" }), make("figcaption", {}, name(l)));
  });
  dialog.querySelector(".near").replaceChildren(
    ...(near.length ? [make("p", {}, "The training images most like it, to the model:"), make("div", {}, ...near)] : []),
  );
  dialog.querySelector(".number").textContent = `${current + 1} of ${chosen.length}`;
  if (!dialog.open) dialog.showModal();
}

if (form) {
  for (const key of ["actual", "answer"]) {
    const counts = new Map();
    for (const shot of shots) counts.set(shot[key[1] === "c" ? "l" : "a"], 1);
    for (const label of [...counts.keys()].filter((label) => label >= 0).sort((a, b) => name(a).localeCompare(name(b))))
      form.elements[key].append(new Option(name(label), label));
  }
  if (!shots.some((shot) => shot.s)) form.elements.show.querySelector('[value="suspect"]').remove();
  // Few wrong answers leave room for the others, which come after them.
  const few = shots.filter((shot) => !isRight(shot) && !shot.v).length < 8;
  for (const option of form.elements.show.options) option.defaultSelected = option.value === (few ? "all" : "wrong");
  form.reset();
  form.addEventListener("input", choose);
  form.addEventListener("reset", () => setTimeout(choose));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("more").addEventListener("click", showMore);
  dialog.addEventListener("click", (event) => {
    const step = { close: () => dialog.close(), previous: () => open(current - 1), next: () => open(current + 1) };
    if (event.target.dataset.do) step[event.target.dataset.do]();
    else if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") open(current - 1);
    if (event.key === "ArrowRight") open(current + 1);
  });
  dialog.querySelector(".look input").addEventListener("change", (event) => {
    dialog.querySelector(".veil").hidden = !event.target.checked;
  });
  const sample = new Image();
  sample.addEventListener("load", () => document.body.classList.toggle("small-pixels", sample.naturalWidth <= 64));
  sample.src = shots[0].src;
  choose();
}

/** Follow a link such as #pictures?actual=3&answer=5: set the filters, and go to the pictures. */
function follow() {
  const [section, query] = location.hash.split("?");
  if (section !== "#pictures" || !form) return;
  if (query !== undefined) {
    const wanted = new URLSearchParams(query);
    form.reset();
    form.elements.show.value = "all";
    for (const [key, value] of wanted) if (form.elements[key]) form.elements[key].value = value;
    choose();
  }
  document.getElementById("pictures").scrollIntoView();
}
addEventListener("hashchange", follow);
follow();

// The confusion matrix of many classes: one pixel a cell, with names and counts under the pointer.
const canvas = document.getElementById("matrix");
if (canvas) {
  const { cells, totals } = shown.matrix;
  const order = shown.order;
  const counts = new Map(cells.map(([row, column, count]) => [row * order.length + column, count]));
  const scale = Math.max(1, Math.floor(720 / order.length));
  canvas.width = canvas.height = order.length * scale;
  const paint = () => {
    const pen = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    for (const [row, column, count] of cells) {
      const strength = 0.25 + 0.75 * Math.sqrt(count / totals[row]);
      pen.fillStyle = `rgb(${style.getPropertyValue(row === column ? "--hit" : "--miss")} / ${strength})`;
      pen.fillRect(column * scale, row * scale, scale, scale);
    }
  };
  paint();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  const cellAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const at = (value, size) => Math.min(order.length - 1, Math.max(0, Math.floor((value / size) * order.length)));
    return [at(event.clientY - box.top, box.height), at(event.clientX - box.left, box.width)];
  };
  canvas.addEventListener("pointermove", (event) => {
    const [row, column] = cellAt(event);
    const count = counts.get(row * order.length + column) || 0;
    document.getElementById("cell").textContent =
      `${name(order[row])} answered ${name(order[column])}: ${count} of ${totals[row]} image${totals[row] === 1 ? "" : "s"}`;
  });
  canvas.addEventListener("click", (event) => {
    const [row, column] = cellAt(event);
    location.hash = `#pictures?actual=${order[row]}&answer=${order[column]}`;
  });
}

// The map: the name under the pointer, its class lit up, its picture on a click.
const points = [...document.querySelectorAll("#map-points use")];
if (points.length && points.length === shown.map.length) {
  const byFile = new Map(shots.map((shot) => [shot.f, shot]));
  points.forEach((point, i) => {
    const [label, answer, file] = shown.map[i];
    point.addEventListener("pointerenter", () => {
      const said = label === answer ? "" : `, answered ${name(answer)}`;
      document.getElementById("point").textContent = `${name(label)}${said} (${written(file)})`;
      points.forEach((other, j) => other.classList.toggle("other", shown.map[j][0] !== label));
    });
    point.addEventListener("click", () => {
      const shot = byFile.get(file);
      if (!shot) return;
      chosen = [shot];
      open(0);
    });
  });
  document.getElementById("map-points").addEventListener("pointerleave", () => points.forEach((point) => point.classList.remove("other")));
  dialog.addEventListener("close", () => form && chosen.length === 1 && choose());
}

// Tables that can be sorted: a button in each heading.
for (const table of document.querySelectorAll(".sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.querySelector(".hidden")) return;
    const button = make("button", { type: "button" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.ariaSort !== "ascending";
      heads.forEach((other) => (other.ariaSort = null));
      head.ariaSort = up ? "ascending" : "descending";
      const value = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y, "en", { numeric: true }) : x - y;
        return up ? order : -order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}

// On paper everything is open; afterwards, what was closed is closed again.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((details) => (details.open = true));
});
addEventListener("afterprint", () => closed.forEach((details) => (details.open = false)));
