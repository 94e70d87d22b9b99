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
  return line.replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function renderCard(markdown, level) {
  const lines = markdown.replace(/^---\n[^]*?\n---\n/, "").split("\n");
  const out = document.createDocumentFragment();
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at];
    const heading = /^(#+) (.*)/.exec(line);
    if (heading) {
      out.append(element(`h${Math.min(heading[1].length + level, 6)}`, heading[2]));
    } else if (line.startsWith("```")) {
      const from = at + 1;
      for (at = from; at < lines.length && !lines[at].startsWith("```"); at++);
      out.append(element("pre", "", element("code", lines.slice(from, at).join("\n"))));
    } else if (line.startsWith("|")) {
      const rows = [];
      for (; at < lines.length && lines[at].startsWith("|"); at++) rows.push(cells(lines[at]));
      at--;
      const row = (kind) => (values) => element("tr", "", ...values.map((value) => element(kind, "", ...inline(value))));
      out.append(element("table", "", element("thead", "", row("th")(rows[0])), element("tbody", "", ...rows.slice(2).map(row("td")))));
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
