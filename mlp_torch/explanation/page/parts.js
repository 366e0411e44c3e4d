// Small parts: elements, numbers in words, symbols with their layers. Every name is set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const MATH = "http://www.w3.org/1998/Math/MathML";
const SIGNS = { gamma: "γ", beta: "β", loss: "L" };
const MOST = 6;  // rows and columns of a matrix
const MARKS = { exact: "=", certified: "✓", undecided: "?", wrong: "✗" };

function make(space, tag, attributes, ...children) {
  const node = space ? document.createElementNS(space, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "on") Object.entries(value).forEach(([event, f]) => node.addEventListener(event, f));
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

const h = (tag, attributes, ...children) => make("", tag, attributes, ...children);
const s = (tag, attributes, ...children) => make(SVG, tag, attributes, ...children);
const m = (tag, ...children) => make(MATH, tag, {}, ...children);

// A number in `digits` digits; what JSON has no number for comes as a word.
function digits(value, count) {
  if (typeof value === "string") return value;
  if (value === 0) return "0";
  const size = Math.abs(value);
  const plain = size >= 1e-3 && size < 1e5;
  const text = plain ? String(Number(value.toPrecision(count))) : value.toExponential(count > 1 ? Math.max(1, count - 2) : 0);
  return text.replace("-", "−").replace("e−", "e-").replace("e+", "e");
}

// The number as it is shown, and all of it in `value`.
function number(value, count = 6) {
  return h("data", { value: String(value), title: String(value) }, digits(value, count));
}

const isLarge = (array) => array !== null && typeof array === "object" && !Array.isArray(array);

function squeezed(array) {
  while (Array.isArray(array) && array.length === 1) array = array[0];
  if (!Array.isArray(array)) return array;
  return array.map(squeezed);
}

// One number, a row, a matrix (its first entries where it is wide), or what is known of a larger array.
function numbers(array) {
  if (isLarge(array)) {
    return h("span", {}, `${array.shape.join("×")} numbers, norm `, number(array.norm),
      ", the largest ", number(array.largest), ` at [${array.at.join(",")}]`);
  }
  const found = squeezed(array);
  if (!Array.isArray(found)) return number(found);
  const flat = found.map((row) => (Array.isArray(row) ? row.flat(Infinity) : row));
  const rows = Array.isArray(flat[0]) ? flat : [flat];
  const table = h("table", { class: "numbers" }, ...rows.slice(0, MOST).map((row) => h("tr", {},
    ...row.slice(0, MOST).map((value) => h("td", {}, number(value, 4))),
    row.length > MOST ? h("td", {}, `… ${row.length - MOST} more`) : null)));
  const box = h("div", { class: "wide" }, table);
  if (rows.length > MOST) box.append(h("span", { class: "note" }, `… ${rows.length - MOST} more rows`));
  return box;
}

function verdict(name) {
  return h("span", { class: `verdict ${name}` }, `${MARKS[name]} ${name}`);
}

// W1[2,0] as W with a small 1 and [2,0]
function symbol(name) {
  const [, letters, layer, index] = name.match(/^([^\d[]+)(\d*)(.*)$/);
  const letter = m(letters.length > 1 && !SIGNS[letters] ? "mtext" : "mi", SIGNS[letters] || letters);
  const found = layer ? m("msub", letter, m("mn", layer)) : letter;
  return index ? m("mrow", found, m("mtext", index)) : found;
}

function partial(above, below) {
  return m("mfrac", m("mrow", m("mo", "∂"), symbol(above)), m("mrow", m("mo", "∂"), symbol(below)));
}

const math = (...children) => make(MATH, "math", {}, m("mrow", ...children));

// A formula that was written in Python; it holds no names of the user's.
function formula(markup) {
  const node = make(MATH, "math", {});
  node.innerHTML = markup;
  return node;
}
