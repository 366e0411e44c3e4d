// The answer to a click: the forward line above the backward line, each factor, the product, the verdict.

const stageNamed = Object.fromEntries(data.stages.map((stage, i) => [stage.name, { ...stage, at: i }]));
const now = () => data.moments[state.moment];
const second = (pair) => (pair.length > 1 ? pair[1] : pair[0]);

function press(id, text) {
  return h("button", { type: "button", "data-choose": id, "aria-pressed": id === state.chosen,
    on: { click: () => choose(id, true) } }, text || id);
}

// Both engines' numbers; where all bits are equal it is said.
function engines(name, pair, judged) {
  const equal = pair.length === 1, single = [pair[0], second(pair)].every((a) => !Array.isArray(squeezed(a)) && !isLarge(a));
  const gap = equal ? "bit-equal" : h("span", { class: "nowrap" }, "|Δ| ", number(pair[2], 2));
  if (single) {
    return h("dl", { class: "lines" }, h("dt", {}, name), h("dd", { class: "engines" },
      h("span", { class: "nowrap" }, "by hand ", h("b", { class: "by-hand" }, numbers(pair[0]))),
      h("span", { class: "nowrap" }, "by autograd ", h("b", { class: "by-autograd" }, numbers(second(pair)))),
      judged ? verdict(judged) : "", gap));
  }
  return h("dl", { class: "lines" },
    h("dt", {}, name), h("dd", { class: "engines" }, judged ? verdict(judged) : "", equal ? gap : h("span", {}, "largest ", gap)),
    h("dt", {}, equal ? "by both" : "by hand"), h("dd", { class: "by-hand" }, numbers(pair[0])),
    equal ? "" : h("dt", {}, "by autograd"), equal ? "" : h("dd", { class: "by-autograd" }, numbers(second(pair))));
}

function chainFormula(chain) {
  const parts = chain.factors.map((i) => partial(data.factors[i].above, below(chain, i)));
  const dot = () => m("mo", "·");
  const joined = (list) => list.flatMap((part, i) => (i ? [dot(), part] : [part]));
  const reused = joined(parts.slice(0, chain.reused)), fresh = joined(parts.slice(chain.reused));
  const brace = reused.length ? [m("munder", make(MATH, "mrow", { class: "re-used" }, ...reused), m("mtext", "re-use"))] : [];
  const middle = brace.length && fresh.length ? [dot()] : [];
  return h("div", { class: "formula", tabindex: 0, role: "region", "aria-label": "The chain as a formula" },
    math(partial("loss", chain.entry), m("mo", "="), ...brace, ...middle, ...fresh));
}

const below = (chain, i) => (i === chain.factors.at(-1) && chain.kind !== "stage" ? chain.entry : data.factors[i].below);

// The place of the factor that kills an entry's gradient, and which it is, in words; none, if none does.
const killer = (chain) => (chain.name ? numbersOf(chain)[10] : -1);

function killed(chain) {
  const i = chain.factors[killer(chain)];
  return i === undefined ? "" : `∂${data.factors[i].above}/∂${below(chain, i)}: ${now().marks[i]}`;
}

function factorItem(chain, i, k) {
  const factor = data.factors[i], [values, ...pair] = now().factors[i];
  const judged = now().verdicts[factor.stage], wrong = judged === "wrong";
  const label = factor.rule === "start" ? "" : ` = ${factor.label}`;
  const shape = factor.shape.length ? factor.shape.join("×") : "1";
  return h("li", { class: `${k < chain.reused ? "reused" : "new"}${wrong ? " wrong" : ""}`, "data-stage": factor.stage },
    h("dl", { class: "lines" },
      h("dt", {}, "forward"), h("dd", { class: "forward-line" }, h("code", {}, stageNamed[factor.above].formula)),
      h("dt", {}, "backward"), h("dd", {}, h("code", {}, stageNamed[factor.stage].formula)),
      data.lines[factor.stage] ? h("dt", {}, "formula") : "",
      data.lines[factor.stage] ? h("dd", { class: "formula" }, formula(data.lines[factor.stage])) : "",
      h("dt", {}, "factor"),
      h("dd", { class: "factor" }, math(partial(factor.above, below(chain, i))), `${label} (${shape}) = `, numbers(values))),
    engines(factor.held, pair, judged),
    wrong ? h("p", { class: "blame" }, now().notes[factor.stage]) : "",
    k === killer(chain) ? h("p", { class: "kills" }, now().marks[i]) : "");
}

function factorList(chain) {
  const items = chain.factors.map((i, k) => factorItem(chain, i, k));
  const found = [];
  if (chain.reused) {
    found.push(h("h4", {}, `For ${chain.above}: already computed, re-use (propagate)!`),
      h("ol", { class: "factors" }, ...items.slice(0, chain.reused)));
  }
  if (chain.reused < items.length) {
    found.push(h("h4", {}, `${chain.reused ? "New for" : "The factors of"} ∂L/∂${chain.entry}`),
      h("ol", { class: "factors", start: chain.reused + 1 }, ...items.slice(chain.reused)));
  }
  return found;
}

// The factors in one line: their numbers where each is one, else their names and shapes.
function productLine(chain) {
  const terms = chain.factors.map((i) => [data.factors[i], squeezed(now().factors[i][0])]);
  const single = terms.every(([, v]) => !Array.isArray(v) && !isLarge(v));
  return terms.flatMap(([factor, v], k) => {
    const named = `${factor.rule === "start" ? "dloss" : factor.label} (${factor.shape.join("×") || 1})`;
    const term = single ? h("span", {}, v < 0 ? "(" : "", number(v), v < 0 ? ")" : "") : named;
    return k ? [" · ", term] : [term];
  });
}

function answerEntry(chain) {
  const [v, manual, autograd, product, tolerance, gap, multiplies, judged, equal, size] = numbersOf(chain);
  const symbolName = chain.id.split("[")[0];
  return [
    h("p", {}, h("code", {}, chain.name), ", a ", chain.kind, ", is ", number(v), "."),
    killed(chain) ? h("p", { class: "kills", id: "killer" }, killed(chain)) : "",
    chainFormula(chain),
    h("dl", { class: "lines", id: "gradient" },
      h("dt", {}, "by hand"), h("dd", {}, number(manual, 10)),
      h("dt", {}, "by autograd"), h("dd", {}, number(autograd, 10)),
      h("dt", {}, "product"), h("dd", { id: "product" }, ...productLine(chain), " = ", number(product, 10)),
      h("dt", {}, "verdict"), h("dd", {}, verdict(judged), ` for d${symbolName}: ${equal} of ${size} entries bit-equal. `,
        multiplies ? "The factors multiply to the gradient: " : h("strong", { class: "blame" }, "The factors do NOT multiply to the gradient: "),
        "|Δ| ", number(gap, 2), ", rounding explains ", number(tolerance, 2), ".")),
    ...factorList(chain),
  ];
}

function answerUnit(chain) {
  const rows = chain.stages.map((name, k) => [name, numbersOf(chain)[k]]);
  const own = data.chains.filter((other) => other.name && other.column === chain.column
    && (other.to === chain.to || other.kind === "slope"));
  return [
    h("p", {}, `Unit ${chain.to} of ${chain.column ? `layer ${chain.column}` : "the input"}; `,
      "forward values and gradients of this unit",
      data.samples > data.first ? `, of the first ${data.first} of ${data.samples} samples:` : ":"),
    ...rows.map(([name, pair]) => h("div", {}, h("code", {}, stageNamed[name] ? stageNamed[name].formula : name),
      engines(`${name}[:,${chain.to}]`, pair, now().verdicts[name]))),
    own.length ? h("p", {}, "Its parameters: ", ...own.flatMap((other) => [press(other.id), " "])) : "",
    chainFormula(chain), ...factorList(chain),
  ];
}

function answerStage(chain) {
  const stage = stageNamed[chain.id], judged = now().verdicts[chain.id];
  const under = data.stages.filter((other) => other.under === chain.id);
  return [
    stage.under ? h("p", { class: "forward-line" }, h("code", {}, stageNamed[stage.under].formula)) : "",
    h("p", {}, h("code", {}, stage.formula)),
    engines(`${chain.id} (${stage.shape.join("×") || 1})`, now().stages[stage.at], judged),
    judged === "wrong" ? h("p", { class: "blame" }, now().notes[chain.id]) : "",
    under.length ? h("p", {}, "Backward: ", ...under.flatMap((other) => [press(other.name), " "])) : "",
    ...(chain.factors.length ? [chainFormula(chain), ...factorList(chain)] : []),
  ];
}

function titleOf(chain) {
  if (chain.kind !== "stage") return `∂L/∂${chain.entry}`;
  return chain.factors.length ? `Stage ${chain.id}, backward` : `Stage ${chain.id}, forward`;
}

function summaryOf(chain) {
  const title = titleOf(chain);
  if (chain.kind === "stage") return `${title}: ${stageNamed[chain.id].formula}. ${now().verdicts[chain.id] || ""}`;
  if (chain.kind === "unit") return `${title}, ${chain.factors.length} factors, ${chain.reused} re-used.`;
  const [, manual, autograd, , , , , judged] = numbersOf(chain);
  return `${title} is ${digits(manual, 6)} by hand, ${digits(autograd, 6)} by autograd, ${judged}; ` +
    `${chain.factors.length} factors, ${chain.reused} re-used. ${killed(chain)}`;
}

function answer() {
  const chain = data.chains[place[state.chosen]];
  const kinds = { unit: answerUnit, stage: answerStage };
  document.getElementById("chain-title").textContent = titleOf(chain);
  document.getElementById("answer").replaceChildren(...(kinds[chain.kind] || answerEntry)(chain).filter(Boolean));
}
