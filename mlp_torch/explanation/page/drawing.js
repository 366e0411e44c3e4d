// Both drawings: units in columns, weights between them; forward with values, backward with gradients.

const PILL = { width: 56, height: 26 }, TOP = 34;

const place = {};  // by chain's id, its index
data.chains.forEach((chain, i) => { place[chain.id] = i; });

const entriesOf = (kind) => data.chains.filter((chain) => chain.kind === kind);
const numbersOf = (chain) => data.moments[state.moment].chains[place[chain.id]];

// Of a unit: its value (x or a) or its gradient (∂L/∂x or ∂L/∂z), of the first sample.
function unitValue(chain, backward) {
  const column = data.columns[chain.column];
  const found = numbersOf(chain)[chain.stages.indexOf(backward ? column.gradient : column.name)];
  return found[0][0];
}

const value = (chain, backward) =>
  chain.kind === "unit" ? unitValue(chain, backward) : numbersOf(chain)[backward ? 1 : 0];

function layout(width) {
  const columns = data.columns.length + 1;  // the loss is one more
  const gap = Math.min(300, Math.max(88, (width - PILL.width - 24) / (columns - 1)));
  const tall = Math.max(...data.columns.map((column) => column.units.length + (column.size > column.units.length)));
  const row = tall > 5 ? 56 : gap > 150 ? 84 : 66;
  const height = TOP + tall * row + 6;
  const at = (column, rank, count) => ({  // few units stand apart, up to three times as far: lines from them cross less
    x: 12 + PILL.width / 2 + column * gap,
    y: TOP + tall * row / 2 + (rank - (count - 1) / 2) * row * Math.min(3, tall / count) + 6,
  });
  return { width: 24 + PILL.width + (columns - 1) * gap, height, gap, tall, at };
}

function pointOf(plan, column, unit) {
  const { units, size } = data.columns[column];
  return plan.at(column, units.indexOf(unit), units.length + (size > units.length));
}

// As many digits as a unit has room for.
const few = (v) => [Math.abs(v) < 0.01 ? 2 : 3, 1].map((count) => digits(v, count)).find((text, i) => i || text.length < 8);

const signOf = (v) => (v > 0 ? "positive" : v < 0 ? "negative" : "zero");
const crosses = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
const short = (text, width) => (text.length * 6 > width ? `${text.slice(0, Math.max(2, Math.floor(width / 6) - 1))}…` : text);

function draw(svg, backward) {
  const width = svg.parentNode.clientWidth, scale = Math.min(1.7, Math.max(1, width / 560));
  const plan = layout(width / scale);
  svg.setAttribute("viewBox", `0 0 ${plan.width} ${plan.height}`);
  svg.setAttribute("width", plan.width * scale);
  svg.setAttribute("height", plan.height * scale);
  const chosen = data.chains[place[state.chosen]];
  const way = new Set(chosen.path.map(([column, unit]) => `${column},${unit}`));
  const taken = [];  // the boxes of what is written
  const units = [], edges = [], heads = [];
  for (const chain of entriesOf("unit")) units.push(drawUnit(chain, plan, backward, chosen, way, taken));
  data.columns.forEach((column, i) => {
    const name = backward ? column.gradient : column.name;
    heads.push(s("text", { class: "head", x: plan.at(i, 0, 1).x, y: 14 }, name));
    if (column.size > column.units.length) {
      const { x, y } = plan.at(i, column.units.length, column.units.length + 1);
      heads.push(s("text", { class: "label", x, y }, `… ${column.size - column.units.length} more`));
    }
  });
  const last = data.columns.length - 1, end = plan.at(last + 1, 0, 1), loss = [];
  for (const unit of data.columns[last].units) {
    const from = pointOf(plan, last, unit);
    loss.push(s("line", { class: `to-loss${way.has(`${last},${unit}`) ? " way" : ""}`, x1: from.x, y1: from.y, x2: end.x, y2: end.y }));
  }
  const all = entriesOf("weight"), largest = {};
  for (const chain of all) {
    largest[chain.column] = Math.max(largest[chain.column] || 0, Math.abs(value(chain, backward)) || 0);
  }
  const rank = (chain) => (chain === chosen ? Infinity : Math.abs(value(chain, backward)) || 0);
  const labelled = [...all].sort((a, b) => rank(b) - rank(a));
  const labels = new Map(labelled.map((chain) => [chain.id, freePoint(chain, plan, backward, taken)]));
  for (const chain of all) edges.push(drawEdge(chain, plan, backward, chosen, way, largest, labels.get(chain.id)));
  const before = document.activeElement && svg.contains(document.activeElement) ? document.activeElement.dataset.id : "";
  svg.replaceChildren(...loss, ...edges.map((e) => e.line), ...edges.map((e) => e.text).filter(Boolean),
    ...units, drawLoss(end, backward, chosen), ...heads);
  rove(svg, before || (svg.dataset.at && place[svg.dataset.at] !== undefined ? svg.dataset.at : state.chosen), before);
}

function option(chain, classes, words, ...children) {
  const chosen = chain.id === state.chosen;
  return s("g", { class: classes + (chosen ? " own" : ""), role: "option", tabindex: -1, "data-id": chain.id,
    "aria-selected": chosen, "aria-label": words, on: { click: () => choose(chain.id, true) } },
    s("title", {}, words), ...children);
}

function drawUnit(chain, plan, backward, chosen, way, taken) {
  const column = data.columns[chain.column], row = column.units.indexOf(chain.to);
  const { x, y } = pointOf(plan, chain.column, chain.to);
  const v = unitValue(chain, backward);
  const name = column.labels[row] || `${column.name}[${chain.to}]`;
  const label = short(name, plan.gap - 8);
  const wide = Math.max(PILL.width, label.length * 6.2), left = chain.column === 0;
  taken.push({ x: x - (left ? PILL.width : wide) / 2, y: y - PILL.height / 2 - 16, w: wide, h: PILL.height + 18 });
  const what = backward ? `∂L/∂${chain.entry}` : chain.id;
  const words = `unit ${chain.id}${column.labels[row] ? `, ${name}` : ""}: ${what} = ${digits(v, 5)}`;
  return option(chain, `unit${way.has(`${chain.column},${chain.to}`) ? " way" : ""}`, words,
    s("rect", { x: x - PILL.width / 2, y: y - PILL.height / 2, width: PILL.width, height: PILL.height, rx: 13 }),
    s("text", { x, y: y + 4 }, few(v)),
    s("text", { class: `label${left ? " left" : ""}`, x: left ? x - PILL.width / 2 : x, y: y - PILL.height / 2 - 4 }, label));
}

function drawLoss({ x, y }, backward, chosen) {
  const chain = data.chains[place[backward ? "dloss" : "loss"]];
  const v = data.moments[state.moment].loss;
  const words = backward ? "the gradient starts here: dloss" : `the loss: L = ${digits(v, 5)}`;
  return option(chain, "unit", words,
    s("rect", { x: x - PILL.width / 2, y: y - PILL.height / 2, width: PILL.width, height: PILL.height, rx: 2 }),
    s("text", { x, y: y + 4 }, backward ? "dloss" : few(v)),
    s("text", { class: "label", x, y: y - PILL.height / 2 - 4 }, "loss L"));
}

// Where an edge's number stands: the first place along it that nothing else takes; none, if all are taken.
// A 0 is told by the thin grey line alone. Where it would hide a short level line, it stands above it.
function freePoint(chain, plan, backward, taken) {
  const a = pointOf(plan, chain.column - 1, chain.from), b = pointOf(plan, chain.column, chain.to);
  const v = value(chain, backward);
  if (v === 0 && chain.id !== state.chosen) return null;
  const w = few(v).length * 7 + 6, hgt = 16;
  const above = Math.abs(b.y - a.y) < hgt && plan.gap - PILL.width < w + 24 ? 13 : 0;
  for (let i = 0; i < 27; i++) {
    const share = 0.5 + (i % 2 ? 1 : -1) * Math.ceil(i / 2) * 0.03;
    const x = a.x + share * (b.x - a.x), y = a.y + share * (b.y - a.y) - above;
    const box = { x: x - w / 2, y: y - hgt / 2, w, h: hgt };
    if (!taken.some((other) => crosses(box, other))) {
      taken.push(box);
      return { x, y };
    }
  }
  return null;
}

function drawEdge(chain, plan, backward, chosen, way, largest, at) {
  const a = pointOf(plan, chain.column - 1, chain.from), b = pointOf(plan, chain.column, chain.to);
  const v = value(chain, backward), own = chain === chosen;
  const on = way.has(`${chain.column},${chain.to}`) && way.has(`${chain.column - 1},${chain.from}`);
  const ends = { x1: a.x, y1: a.y, x2: b.x, y2: b.y };
  const width = own ? 5 : 1 + 3 * (Math.abs(v) / largest[chain.column] || 0);
  const words = `weight ${chain.id}: ${backward ? `∂L/∂${chain.id}` : chain.id} = ${digits(v, 5)}`;
  const text = at ? s("text", { class: `number ${signOf(v)}${own || on ? " own" : ""}`, x: at.x, y: at.y + 4 }, few(v)) : null;
  const line = option(chain, `edge ${signOf(v)}${on ? " way" : ""}`, words,
    s("line", { class: "hit", ...ends }), s("line", { class: "seen", ...ends, "stroke-width": width }));
  return { line, text };
}

// One stop of Tab a drawing; the arrows move inside it: up and down in a column, left and right between them.
function rove(svg, id, focus) {
  const node = svg.querySelector(`[data-id="${CSS.escape(id)}"]`) || svg.querySelector("[data-id]");
  svg.querySelectorAll("[tabindex='0']").forEach((other) => other.setAttribute("tabindex", -1));
  node.setAttribute("tabindex", 0);
  svg.dataset.at = node.dataset.id;
  if (focus) node.focus();
}

function groups(backward) {
  const found = [];
  data.columns.forEach((column, i) => {
    if (i) found.push(entriesOf("weight").filter((chain) => chain.column === i).map((chain) => chain.id));
    found.push(entriesOf("unit").filter((chain) => chain.column === i).map((chain) => chain.id));
  });
  return [...found, [backward ? "dloss" : "loss"]].filter((group) => group.length);
}

function move(svg, backward, event) {
  const all = groups(backward), id = svg.dataset.at;
  const g = all.findIndex((group) => group.includes(id)), i = all[g].indexOf(id);
  const beside = (to) => all[to] && all[to][Math.min(all[to].length - 1, Math.round(i * all[to].length / all[g].length))];
  const next = { ArrowDown: all[g][i + 1], ArrowUp: all[g][i - 1], ArrowRight: beside(g + 1), ArrowLeft: beside(g - 1),
    Home: all[0][0], End: all.at(-1)[0] };
  if (event.key === "Enter" || event.key === " ") choose(id, true);
  else if (event.key in next) { if (next[event.key]) rove(svg, next[event.key], true); }
  else return;
  event.preventDefault();
}
