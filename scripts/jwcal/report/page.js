"use strict";
// The table of products, and all about one of them. What it shows is in the JSON above.
const {rows, pool, flags} = JSON.parse(document.getElementById("data").textContent);
const PAGE = 25;
const form = document.getElementById("search"), table = document.getElementById("table"), dialog = document.getElementById("product");
const state = {text: "", suffix: "", sort: null, down: false, page: 0};

const percent = f => f === undefined ? "" : f === 0 ? "0" : f < 0.1 ? `${+(100 * f).toPrecision(2)} %` : `${(100 * f).toFixed(1)} %`;
const seconds = s => s === null || s === undefined ? "–" : s < 9.95 ? `${s.toFixed(1)} s` : s < 59.5 ? `${s.toFixed(0)} s` : `${Math.floor(Math.round(s) / 60)} min ${Math.round(s) % 60} s`;
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

for (const row of rows) {
  row.keywords = pool.keywords[row.keywords];
  const k = row.keywords;
  row.mode = [k.FILTER, k.PUPIL === "CLEAR" ? "" : k.PUPIL, k.GRATING].filter(Boolean).join(" ");
  row.search = [row.name, row.pipeline, row.stage, row.problem, ...Object.values(k)].join(" ").toLowerCase();
}
const columns = [
  {label: "Product", value: r => r.name, cell: r => element("button", {type: "button", className: "plain", textContent: r.name.replace(/\.fits$/, ""), onclick: () => show(r)})},
  {label: "Target", value: r => r.keywords.TARGNAME},
  {label: "EXP_TYPE", value: r => r.keywords.EXP_TYPE},
  {label: "Detector", value: r => r.keywords.DETECTOR},
  {label: "Filter", value: r => r.mode},
  ...Object.entries(flags).map(([name, label]) => ({label: label[0].toUpperCase() + label.slice(1), value: r => r.flags[name], text: percent, number: true})),
  {label: "Job time", value: r => r.seconds, text: seconds, number: true},
  {label: "Memory", value: r => r.mb, text: m => m ? `${m.toFixed(0)} MB` : "–", number: true},
];

// --- the table ---

table.tHead.rows[0].append(...columns.map((column, index) => element("th", {scope: "col", className: column.number ? "n" : ""},
  element("button", {type: "button", textContent: column.label, onclick: () => {
    state.down = state.sort === index && !state.down;
    state.sort = index;
    state.page = 0;
    draw();
  }}))));
form.suffix.append(...[...new Set(rows.map(r => r.suffix))].sort().map(s => element("option", {value: s, textContent: s})));

function found() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const kept = rows.filter(r => (!state.suffix || r.suffix === state.suffix) && words.every(w => r.search.includes(w)));
  if (state.sort === null) return kept;
  const value = columns[state.sort].value, sign = state.down ? -1 : 1;
  const missing = v => v === undefined || v === null || v === "";
  return kept.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (missing(x) || missing(y)) return missing(x) - missing(y);
    return sign * (typeof x === "number" ? x - y : String(x).localeCompare(String(y), "en", {numeric: true}));
  });
}

function draw(all = false) {
  const kept = found(), pages = Math.max(1, Math.ceil(kept.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const shown = all ? kept : kept.slice(state.page * PAGE, (state.page + 1) * PAGE);
  table.tBodies[0].replaceChildren(...shown.map(row => element("tr", {className: row.problem ? "bad" : ""}, ...columns.map((column, index) => {
    const value = column.value(row);
    const cell = element(index ? "td" : "th", {className: column.number ? "n" : ""});
    if (!index) cell.scope = "row";
    cell.append(column.cell ? column.cell(row) : column.text ? column.text(value) : value ?? "");
    return cell;
  }))));
  [...table.tHead.rows[0].cells].forEach((cell, index) => index === state.sort
    ? cell.setAttribute("aria-sort", state.down ? "descending" : "ascending") : cell.removeAttribute("aria-sort"));
  document.getElementById("count").textContent = kept.length === rows.length ? `${rows.length} products` : `${kept.length} of ${rows.length} products`;
  document.getElementById("page").textContent = `page ${state.page + 1} of ${pages}`;
  document.getElementById("pager").hidden = pages === 1;
  document.getElementById("previous").disabled = state.page === 0;
  document.getElementById("next").disabled = state.page === pages - 1;
}
form.addEventListener("input", () => {
  Object.assign(state, {text: form.text.value, suffix: form.suffix.value, page: 0});
  draw();
});
form.addEventListener("submit", event => event.preventDefault());
for (const [id, by] of [["previous", -1], ["next", 1]]) {
  document.getElementById(id).addEventListener("click", () => { state.page += by; draw(); });
}
addEventListener("beforeprint", () => draw(true));
addEventListener("afterprint", () => draw());

// --- one product ---

const pairs = items => element("dl", {className: "keywords"}, ...items.filter(([, v]) => v !== "" && v !== undefined && v !== null)
  .flatMap(([k, v]) => [element("dt", {textContent: k}), element("dd", {}, v instanceof Node ? v : String(v))]));
const grid = (heads, lines) => element("div", {className: "scroll"}, element("table", {},
  element("thead", {}, element("tr", {}, ...heads.map(h => element("th", {scope: "col", textContent: h})))),
  element("tbody", {}, ...lines.map(line => element("tr", {}, ...line.map((cell, i) => element(i ? "td" : "th", i ? {className: "file"} : {scope: "row"}, String(cell))))))));
const part = (title, ...content) => [element("h3", {textContent: title}), ...content];
const compact = values => Object.entries(values).map(([k, v]) => `${k} = ${v}`).join(", ");

function show(row) {
  const made = pool.made_from[row.made_from] ?? {}, steps = pool.steps[row.steps] ?? [];
  const picture = document.getElementById(`picture-${row.id}`);
  const close = element("button", {type: "button", textContent: "Close", onclick: () => dialog.close()});
  dialog.replaceChildren(
    element("header", {}, element("h2", {id: "product-name", textContent: row.name}), close),
    ...(row.problem ? [element("p", {className: "bad", textContent: row.problem})] : []),
    element("div", {className: "columns"},
      element("div", {}, ...(picture ? [...picture.querySelectorAll(".picture")].map(p => p.cloneNode(true)) : [element("p", {textContent: "Not drawn."})]),
        ...part("Flags, share of the pixels", pairs(Object.entries(row.flags).sort((a, b) => b[1] - a[1]).map(([k, f]) => [k, percent(f)])))),
      element("div", {}, pairs([...Object.entries(row.keywords), ["Size", row.shape && `${row.shape} pixels`], ["Pipeline", `${row.stage}, ${row.pipeline}`],
        ["Job", `${seconds(row.seconds)}${row.mb ? `, ${row.mb.toFixed(0)} MB` : ""}`], ["Started", row.run.started], ["Machine", row.run.host],
        ["Context", row.context], ["Digest", row.digest],
        ["Files", element("span", {}, element("a", {href: row.href, textContent: "product"}), ...(row.log ? [", ", element("a", {href: row.log, textContent: "log"})] : []))]]))),
    ...(steps.length ? part("Steps", grid(["Step", "Status", "Time", "Parameters"], steps.map(([step, status, why], i) =>
      [step, status, seconds(row.step_seconds[i]), status === "COMPLETE" ? compact(made.parameters?.[step] ?? {}) : why]))) : []),
    ...(row.inputs.length ? part("Inputs", grid(["File", "As", "Digest"], row.inputs)) : []),
    ...(made.references ? part("References", grid(["Type", "File"], Object.entries(made.references))) : []),
    ...(made.libraries ? part("Libraries", element("p", {textContent: Object.entries(made.libraries).map(p => p.join(" ")).join(", ")})) : []),
    ...(made.code ? [element("details", {}, element("summary", {textContent: "Code"}), grid(["Module", "Digest"], Object.entries(made.code)))] : []),
  );
  dialog.showModal();
  dialog.scrollTop = 0;
}
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
const byId = new Map(rows.map(row => [row.id, row]));
document.getElementById("pictures")?.addEventListener("click", event => {
  const figure = event.target.closest(".picture, [data-product]")?.closest("figure");
  if (figure) show(byId.get(figure.id.replace("picture-", "")));
});

draw();
