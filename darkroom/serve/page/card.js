// The model card's Markdown (headings, lists, tables, code, links) as elements. Text is only ever set as text.
"use strict";

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).filter(Boolean).map((part) => {
    if (part.startsWith("`")) return element("code", part.slice(1, -1));
    if (part.startsWith("**")) return element("b", part.slice(2, -2));
    return document.createTextNode(part);
  });
}

function cells(line) {
  // An interval stays in one line: what is too wide is scrolled.
  return line.replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|").replace(/ – /g, "\u00a0–\u2060\u00a0"));
}

/** What may be wider than a phone, which the keyboard can scroll, too. */
function wide(child, label) {
  const box = element("div", "", child);
  box.className = "wide";
  box.tabIndex = 0;
  box.role = "region";
  box.ariaLabel = label;
  return box;
}

function renderCard(markdown, level) {
  const lines = markdown.replace(/^---\n[^]*?\n---\n/, "").split("\n");
  const out = document.createDocumentFragment();
  let boxes = 0;
  let title = "The model";
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at];
    const heading = /^(#+) (.*)/.exec(line);
    if (heading) {
      title = heading[2];
      out.append(element(`h${Math.min(heading[1].length + level, 6)}`, title));
    } else if (line.startsWith("```")) {
      const from = at + 1;
      for (at = from; at < lines.length && !lines[at].startsWith("```"); at++);
      out.append(wide(element("pre", "", element("code", lines.slice(from, at).join("\n"))), `${title}: code ${++boxes}`));
    } else if (line.startsWith("|")) {
      const rows = [];
      for (; at < lines.length && lines[at].startsWith("|"); at++) rows.push(cells(lines[at]));
      at--;
      const row = (kind) => (values) => element("tr", "", ...values.map((value) => element(kind, "", ...inline(value))));
      const table = element("table", "", element("thead", "", row("th")(rows[0])), element("tbody", "", ...rows.slice(2).map(row("td"))));
      out.append(wide(table, `${title}: table ${++boxes}`));
    } else if (line.startsWith("- ")) {
      const list = element("ul");
      for (; at < lines.length && lines[at].startsWith("- "); at++) list.append(element("li", "", ...inline(lines[at].slice(2))));
      at--;
      out.append(list);
    } else if (line.trim()) {
      const from = at;
      for (; at + 1 < lines.length && lines[at + 1].trim() && !/^(#|\||- |```)/.test(lines[at + 1]); at++);
      out.append(element("p", "", ...inline(lines.slice(from, at + 1).join(" "))));
    }
  }
  return out;
}
