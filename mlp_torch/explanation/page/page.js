// The state: which chain is chosen, at which moment of training. Everything shown is made from it and `data`.

const find = (id) => document.getElementById(id);

function tables() {
  const rows = data.stages.filter((stage) => !stage.under).flatMap((stage) =>
    [stage, ...data.stages.filter((other) => other.under === stage.name)]);
  find("stages").replaceChildren(h("table", {},
    h("tr", {}, ...["stage", "formula", "shape", "verdict"].map((text) => h("th", { scope: "col" }, text))),
    ...rows.map((stage) => h("tr", { class: stage.under ? "" : "forward-line" },
      h("th", { scope: "row" }, press(stage.name)),
      h("td", {}, h("code", {}, stage.formula)),
      h("td", { class: "nowrap" }, stage.shape.join("×") || "1"),
      h("td", {}, now().verdicts[stage.name] ? verdict(now().verdicts[stage.name]) : "")))));
  const entries = data.chains.filter((chain) => chain.name);
  const units = entriesOf("unit");
  find("entries").querySelector("div").replaceChildren(
    h("table", {}, h("caption", {}, "Parameters"),
      h("tr", {}, ...["entry", "value", "∂L by hand", "∂L by autograd", "verdict"].map((text, i) =>
        h("th", { scope: "col", class: i % 4 ? "n" : "" }, text))),
      ...entries.map((chain) => {
        const [v, manual, autograd, , , , , judged] = numbersOf(chain);
        return h("tr", {}, h("th", { scope: "row" }, press(chain.id)), ...[v, manual, autograd].map((x) =>
          h("td", { class: "n" }, number(x))), h("td", {}, verdict(judged)));
      })),
    h("table", {}, h("caption", {}, "Units"),
      h("tr", {}, ...["unit", "value", "gradient"].map((text, i) => h("th", { scope: "col", class: i ? "n" : "" }, text))),
      ...units.map((chain) => h("tr", {}, h("th", { scope: "row" }, press(chain.id)),
        ...[false, true].map((backward) => h("td", { class: "n" }, number(unitValue(chain, backward))))))));
}

function drawings() {
  const of = data.samples > 1 ? " of the first sample" : "";
  find("forward-title").textContent = `Forward: values${of} in the units, weights between them; L = ${digits(now().loss, 5)}`;
  find("backward-title").textContent = `Backward: ∂L/∂z${of} in the units, ∂L/∂W between them`;
  draw(find("forward"), false);
  draw(find("backward"), true);
}

function show() {
  drawings();
  answer();
  tables();
  find("when").textContent = `${now().label}, L = ${digits(now().loss, 5)}`;
  find("moment").setAttribute("aria-valuetext", find("when").textContent);
}

// Choose a chain. Where its answer is out of sight, it comes into sight.
function choose(id, asked) {
  const button = document.activeElement && document.activeElement.dataset.choose;
  state.chosen = id;
  show();
  if (!asked) return;
  find("said").textContent = summaryOf(data.chains[place[id]]);
  const top = find("chain").getBoundingClientRect().top;
  if (top > window.innerHeight - 120 || top < 0) find("chain").scrollIntoView({ block: "start" });
  if (button) find("chain-title").focus({ preventScroll: true });
}

find("subject").textContent = data.title;
find("omitted").textContent = data.omitted;
find("note").textContent = data.note;
find("time").hidden = data.moments.length < 2 && !data.note;
find("moment").hidden = data.moments.length < 2;
find("moment").max = data.moments.length - 1;
find("moment").value = state.moment;
find("moment").addEventListener("input", (event) => { state.moment = Number(event.target.value); show(); });
// A drawing that listened for focus itself would be a stop of Tab.
for (const [id, backward] of [["forward", false], ["backward", true]]) {
  find(id).addEventListener("keydown", (event) => move(find(id), backward, event));
  find(id).parentNode.addEventListener("focusin", (event) => {
    const part = event.target.closest("[data-id]");
    if (part) find(id).dataset.at = part.dataset.id;
  });
}
let width = document.body.clientWidth;
new ResizeObserver(() => {
  if (document.body.clientWidth === width) return;
  width = document.body.clientWidth;
  drawings();
}).observe(document.body);
show();
