// The picture in hand: why it is shown, what the model says, what is like it, and the field to type another label in.
"use strict";

const $ = (id) => document.getElementById(id);
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
const make = (name, className = "", text = "") => {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.textContent = text;
  return element;
};

const inspector = {
  item: null, // what the tile shows
  detail: null, // what the server knows beside that
  classes: [],
  labels: [], // those that the keys 1 to 9 stand for
  choose: () => {}, // called with a label

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
    const size = detail ? `, ${detail.width} × ${detail.height} px` : "";
    $("location").textContent = `${item.location} (${item.split}${size})`;
    $("label").replaceChildren(...labelOf(item));
    const note = detail?.note ? ` Note: ${detail.note}` : "";
    $("why").textContent = (item.why ? item.why[0].toUpperCase() + item.why.slice(1) + "." : "") + note;
    for (const id of ["keep", "relabel", "exclude", "unsure"]) {
      $(id).setAttribute("aria-pressed", String(item.decision === id));
    }
    this.drawAnswers(detail?.answers ?? []);
    this.strip("beside", detail?.beside ? [detail.beside] : []);
    this.strip("copies", detail?.copies ?? []);
    this.strip("nearest", detail?.nearest ?? []);
  },

  drawAnswers(answers) {
    const rows = answers.length ? answers : this.classes.slice(0, 9).map((name) => ({ class: name }));
    this.labels = rows.slice(0, 9).map((row) => row.class);
    $("answers-title").textContent = answers.length ? "What the model says" : "Labels";
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
      if (this.item !== item || !$("original").open) return;
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

  begin() {
    $("typing").hidden = false;
    $("new-label").value = "";
    this.match();
    $("new-label").focus();
  },

  end() {
    if ($("typing").hidden) return;
    $("typing").hidden = true;
    focusTile();
  },

  match() {
    const typed = $("new-label").value.trim().replace(/\s+/g, " ");
    const low = typed.toLowerCase();
    const first = inspector.classes.filter((name) => name.toLowerCase().startsWith(low));
    const later = inspector.classes.filter((name) => !name.toLowerCase().startsWith(low) && name.toLowerCase().includes(low));
    this.options = [...first, ...later].map((name) => ({ name }));
    if (typed && !inspector.classes.some((name) => name.toLowerCase() === low)) this.options.push({ name: typed, fresh: true });
    this.at = 0;
    this.draw();
  },

  draw() {
    const list = $("matches");
    list.replaceChildren(...this.options.map((option, place) => {
      const row = make("li", "", option.fresh ? `New class “${option.name}”` : option.name);
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
    inspector.choose(option.name);
  },

  key(event) {
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
