// The picture in hand: why it is shown, what the model says, what is like it, and the field to type another label in.
"use strict";

const $ = (id) => document.getElementById(id);
const percent = (share, digits = 1) => {
  const shown = (100 * share).toFixed(digits);
  return `${share < 1 && Number(shown) === 100 ? `>${(100 - 10 ** -digits).toFixed(digits)}` : shown} %`; // 100 is certainty
};
const make = (name, className = "", text = "") => {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.textContent = text;
  return element;
};

const SETTLING = 400; // milliseconds in which nobody has read what has just changed

const inspector = {
  item: null, // what the tile shows
  detail: null, // what the server knows beside that
  classes: [],
  labels: [], // those that the keys 1 to 9 stand for; none until they are known
  changed: 0, // when other labels took their places beside the same picture, by performance.now()
  choose: () => {}, // called with a label, and the items that it is for where these are not those in hand
  rename: () => {}, // called with a class and its new name

  isSettled() { return Boolean(this.detail) && performance.now() - this.changed > SETTLING; },

  async show(item, queue) {
    this.item = item;
    $("inspector").hidden = !item;
    if (!item) return;
    if (this.detail?.id !== item.id) this.detail = null;
    this.draw();
    try {
      const detail = await get("sample", { id: item.id, queue });
      if (this.item?.id !== detail.id) return;
      this.detail = detail;
      this.draw();
    } catch (error) {
      warn(error.message);
      if (this.item?.id !== item.id) return;
      this.detail = { id: item.id };
      this.draw();
    }
  },

  draw() {
    const { item, detail } = this;
    const picture = $("picture");
    if (picture.dataset.id !== item.id) {
      picture.dataset.id = item.id;
      showPicture(picture, item);
    }
    picture.alt = `${item.location}, ${item.was ? `labelled ${item.was}` : "without a label"}`;
    const size = detail?.width ? `, ${detail.width} × ${detail.height} px` : "";
    $("location").replaceChildren(make("bdi", "", item.location), ` (${item.split}${size})`);
    $("label").replaceChildren(...labelOf(item));
    const note = detail?.note ? ` Note: ${detail.note}` : "";
    $("why").textContent = (item.why ? item.why[0].toUpperCase() + item.why.slice(1) + "." : "") + note;
    for (const id of ["keep", "relabel", "exclude", "unsure"]) {
      $(id).setAttribute("aria-pressed", String(item.decision === id));
    }
    this.drawAnswers(detail ? (detail.answers ?? []) : null);
    this.strip("beside", detail?.beside ? [detail.beside] : []);
    this.strip("copies", detail?.copies ?? []);
    this.strip("nearest", detail?.nearest ?? []);
  },

  // `answers`: null while they are not known, [] where the model has none.
  drawAnswers(answers) {
    const rows = answers?.length ? answers : answers ? this.classes.slice(0, 9).map((name) => ({ class: name })) : [];
    const before = this.labels;
    this.labels = rows.slice(0, 9).map((row) => row.class);
    if (before.length && this.labels.length && String(before) !== String(this.labels)) this.changed = performance.now();
    $("answers-title").textContent = answers && !answers.length ? "Labels" : "What the model says";
    $("answers").replaceChildren(...rows.map((row, place) => {
      const entry = make("li");
      const button = make("button", row.class === this.item.was ? "own" : "");
      button.type = "button";
      button.append(make("kbd", "", place < 9 ? String(place + 1) : ""), make("span", "", row.class));
      if (row.probability !== undefined) {
        const bar = make("div", "bar");
        bar.setAttribute("aria-hidden", "true");
        bar.append(make("i"));
        bar.firstChild.style.width = `${100 * row.probability}%`;
        button.append(make("span", "share", percent(row.probability)), bar);
      }
      if (place >= 9) button.firstChild.remove();
      button.title = row.class === this.item.was ? "Its label now" : `Relabel as ${row.class}`;
      button.addEventListener("click", () => this.choose(row.class));
      entry.append(button);
      return entry;
    }));
  },

  strip(id, items) {
    const section = $(id);
    section.hidden = !items.length;
    section.querySelector(".strip").replaceChildren(...items.map((item) => {
      const figure = make("figure");
      const image = make("img");
      image.alt = "";
      image.loading = "lazy";
      showPicture(image, item);
      const caption = make("figcaption");
      caption.append(make("span", item.label === this.item.label ? "" : "other", item.label || "excluded"));
      const facts = item.alike === undefined ? item.split : `${item.split}, ${percent(item.alike, 0)}`;
      caption.append(make("span", "", facts));
      figure.title = item.location;
      figure.append(image, caption);
      return figure;
    }));
  },

  async zoom() {
    const { item } = this;
    const picture = $("original-picture");
    picture.removeAttribute("src");
    picture.classList.remove("whole");
    $("original-text").textContent = `Opening ${item.location} …`;
    $("original").showModal();
    try {
      const blob = await (await ask(`original?id=${encodeURIComponent(item.id)}`)).blob();
      if (this.item?.id !== item.id || !$("original").open) return;
      URL.revokeObjectURL(picture.dataset.blob ?? "");
      picture.dataset.blob = URL.createObjectURL(blob);
      picture.src = picture.dataset.blob;
      picture.alt = item.location;
      $("original-text").textContent = `${item.location}; a click shows every pixel`;
    } catch (error) {
      $("original-text").textContent = error.message;
    }
  },
};

function labelOf(item) {
  const now = make("b", "", item.label || "excluded");
  if (!item.was && !item.label) return [make("span", "", item.decision ? "Left without a label" : "No label yet")];
  if (!item.was) return [make("span", "", "Label: "), now];
  if (item.label === item.was) return [make("span", "", "Label: "), now];
  return [make("span", "", "Label: "), make("s", "", item.was), make("span", "", " → "), now];
}

// The field for another label: what is typed chooses among the classes, or makes a new one.
const typing = {
  options: [],
  at: 0,
  chosen: [], // the pictures that the label is for: those in hand when it was begun
  renamed: "", // or the class that it is the new name of

  begin(renamed = "") {
    this.renamed = renamed;
    this.chosen = inChoice();
    $("typing-for").textContent = renamed ? `New name of all of ${brief(renamed)}` : "New label";
    $("typing").hidden = false;
    $("new-label").value = "";
    this.match();
    $("new-label").focus();
    if (innerWidth <= 704) $("typing").scrollIntoView({ block: "start" }); // above the phone's keyboard
  },

  end() {
    if ($("typing").hidden) return;
    $("typing").hidden = true;
    focusTile();
  },

  match() {
    const typed = $("new-label").value.trim().replace(/\s+/g, " ");
    const plain = (name) => name.normalize("NFC").replace(/\s+/g, " ").toLowerCase();
    const low = plain(typed);
    const first = inspector.classes.filter((name) => plain(name).startsWith(low));
    const later = inspector.classes.filter((name) => !plain(name).startsWith(low) && plain(name).includes(low));
    this.options = [...first, ...later].filter((name) => name !== this.renamed).map((name) => ({ name }));
    if (typed && !inspector.classes.some((name) => plain(name) === low)) {
      const fresh = { name: typed, fresh: true };
      if (this.renamed) this.options.unshift(fresh); // half a name is to join no two classes
      else this.options.push(fresh);
    }
    this.at = 0;
    this.draw();
  },

  draw() {
    const list = $("matches");
    list.replaceChildren(...this.options.map((option, place) => {
      const row = make("li", "", option.fresh ? `New class “${option.name}”` : this.renamed ? `Join with ${option.name}` : option.name);
      row.id = `match-${place}`;
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", String(place === this.at));
      row.addEventListener("mousedown", (event) => { event.preventDefault(); this.take(place); });
      return row;
    }));
    $("new-label").setAttribute("aria-activedescendant", this.options.length ? `match-${this.at}` : "");
    list.children[this.at]?.scrollIntoView({ block: "nearest" });
  },

  take(place) {
    const option = this.options[place];
    if (!option) return;
    this.end();
    if (this.renamed) inspector.rename(this.renamed, option.name);
    else inspector.choose(option.name, this.chosen);
  },

  key(event) {
    if (event.isComposing) return; // the keys choose among an input method's characters
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps) {
      this.at = (this.at + steps[event.key] + this.options.length) % Math.max(1, this.options.length);
      this.draw();
    } else if (event.key === "Enter") this.take(this.at);
    else if (event.key === "Escape") this.end();
    else return;
    event.preventDefault();
    event.stopPropagation();
  },
};
