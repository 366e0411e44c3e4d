"""Each kind of slip: its line is named, or among those that mend as well, with a line that mends it."""

import numpy as np
import pytest

from mlp_torch import check_function
from mlp_torch.check.functions.calling.adapters import adapt
from mlp_torch.check.lines.candidates import events_at
from mlp_torch.check.lines.draws import drawn
from mlp_torch.check.lines.program import Program, Sources
from mlp_torch.check.lines.sensitivity import sensitivity
from tests.mlp_torch.check.lines.written import slipped, written

HEADER = "import numpy as np\n\n\n"
# a readout of a recurrent net, its gradients added up in a dict
TAGGER = (
    HEADER
    + """def step(x, h, p):
    return np.tanh(x @ p["W"] + h @ p["U"] + p["b"])


def loss_and_gradients(p, x, y):
    T, n, _ = x.shape
    hs = [np.zeros((n, p["U"].shape[0]))]
    loss, outs = 0.0, []
    for t in range(T):
        hs.append(step(x[t], hs[t], p))
        out = hs[-1] @ p["V"] + p["c"]
        outs.append(out)
        loss += 0.5 * np.sum((out - y[t]) ** 2) / n
    loss += 0.5 * 0.1 * np.sum(p["V"] ** 2)
    g = {k: np.zeros_like(v) for k, v in p.items()}
    later = np.zeros_like(hs[0])
    for t in reversed(range(T)):
        dout = (outs[t] - y[t]) / n
        g["V"] += hs[t + 1].T @ dout
        g["c"] += dout.sum(axis=0)
        dh = dout @ p["V"].T + later
        dz = dh * (1 - hs[t + 1] ** 2)
        g["W"] += x[t].T @ dz
        g["U"] += hs[t].T @ dz
        g["b"] += dz.sum(axis=0)
        later = dz @ p["U"].T
    g["V"] += 0.1 * p["V"]
    return loss, g


r = np.random.default_rng(0)
shapes = {"W": (3, 4), "U": (4, 4), "b": (4,), "V": (4, 2), "c": (2,)}
parameters = {name: 0.5 * r.normal(size=shape) for name, shape in shapes.items()}
x, y = r.normal(size=(3, 5, 3)), r.normal(size=(3, 5, 2))
"""
)
# a gated net with a normalised layer, written out step by step
GATED = (
    HEADER
    + """def normalise(z):
    mean = z.mean(axis=0)
    centred = z - mean
    spread = np.sqrt((centred**2).mean(axis=0) + 1e-3)
    return centred / spread, (centred, spread)


def normalise_backward(dout, cache):
    centred, spread = cache
    dcentred = dout / spread
    dspread = -np.sum(dout * centred, axis=0) / spread**2
    dcentred += centred * dspread / (spread * len(centred))
    dmean = -np.sum(dcentred, axis=0)
    return dcentred + dmean / len(centred)


def loss_and_gradients(p, x, y):
    z = x @ p["W"] + p["b"]
    u, cache = normalise(z)
    gate = 1 / (1 + np.exp(-(x @ p["G"])))
    a = np.maximum(u, 0)
    h = gate * a
    out = np.einsum("nh,ho->no", h, p["V"])
    e = np.tanh(out) - y
    loss = np.sum(e**2) / len(x) + 0.05 * np.sum(np.abs(p["V"]))
    de = 2 * e / len(x)
    dout = de * (1 - np.tanh(out) ** 2)
    grads = {}
    grads["V"] = np.einsum("nh,no->ho", h, dout) + 0.05 * np.sign(p["V"])
    dh = np.einsum("no,ho->nh", dout, p["V"])
    dgate = dh * a
    da = dh * gate
    ds = dgate * gate * (1 - gate)
    du = da * (u > 0)
    dz = normalise_backward(du, cache)
    grads["W"] = x.T @ dz
    grads["b"] = dz.sum(axis=0)
    grads["G"] = x.T @ ds
    return loss, grads


r = np.random.default_rng(0)
shapes = {"W": (3, 5), "b": (5,), "G": (3, 5), "V": (5, 2)}
parameters = {name: r.normal(size=shape) for name, shape in shapes.items()}
x, y = r.normal(size=(7, 3)), r.normal(size=(7, 2))
"""
)
# gradients in a list, and a function of its own for a derivative
HELPED = (
    HEADER
    + """def relu_grad(z):
    return np.where(z > 0, 1.0, 0.1)


def loss_and_gradients(p, x, y):
    W, V = p
    z = x @ W
    h = np.where(z > 0, z, 0.1 * z)
    e = h @ V - y
    loss = np.sum(e**2) / len(x)
    de = 2 * e / len(x)
    dV = h.T @ de
    dh = de @ V.T
    dz = dh * relu_grad(z)
    dW = x.T @ dz
    return loss, [dW, dV]


r = np.random.default_rng(0)
parameters = [r.normal(size=(3, 5)), r.normal(size=(5, 2))]
x, y = r.normal(size=(7, 3)), r.normal(size=(7, 2))
"""
)
# (kind, program, what stands there, the slip)
KINDS = (
    ("another variable in a loop", TAGGER, 'g["W"] += x[t].T @ dz', 'g["W"] += x[t].T @ dh'),
    ("one step off", TAGGER, 'g["U"] += hs[t].T @ dz', 'g["U"] += hs[t + 1].T @ dz'),
    ("a path that is left out", TAGGER, 'dh = dout @ p["V"].T + later', 'dh = dout @ p["V"].T'),
    ("= for +=", TAGGER, 'g["b"] += dz.sum(axis=0)', 'g["b"] = dz.sum(axis=0)'),
    ("a transpose in a loop", TAGGER, 'later = dz @ p["U"].T', 'later = dz @ p["U"]'),
    ("a bound", TAGGER, "for t in reversed(range(T)):", "for t in reversed(range(1, T)):"),
    ("a mask for a gradient", GATED, "du = da * (u > 0)", "du = u > 0"),
    ("a function that is left out", GATED, '0.05 * np.sign(p["V"])', '0.05 * p["V"]'),
    ("an axis, and the shape", GATED, "-np.sum(dcentred, axis=0)", "-np.sum(dcentred)"),
    ("a derivative that is left out", GATED, "ds = dgate * gate * (1 - gate)", "ds = dgate * gate"),
    ("what the forward pass has", GATED, "dout = de * (1 - np.tanh(out) ** 2)", "dout = de * (1 - out**2)"),
    ("another entry is added to", TAGGER, 'g["b"] += dz.sum(axis=0)', 'g["b"] += dh.sum(axis=0)'),
    ("a gradient in a list", HELPED, "return loss, [dW, dV]", "return loss, [dW, V]"),
    ("a power", GATED, "/ spread**2", "/ spread**3"),
    ("a sign", GATED, "dmean / len(centred)", "-dmean / len(centred)"),
)  # fmt: skip


def report_of(tmp_path, source, **options):
    module = written(tmp_path, source)
    return check_function(module.loss_and_gradients, module.parameters, module.x, module.y, **options)


@pytest.mark.parametrize("source", [TAGGER, GATED, HELPED])
def test_the_programs_are_right(source, tmp_path):
    assert report_of(tmp_path, source).verdict == "right"


@pytest.mark.parametrize(("source", "old", "new"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS])
def test_a_slip_of_each_kind_is_named_and_mended(source, old, new, tmp_path):
    slip, number = slipped(source, old, new)
    report = report_of(tmp_path, slip, timeout=300)
    (line,) = report.lines
    assert number in [line.line, *(other.line for other in line.alternatives)], str(report)
    assert line.mended is not None
    assert line.proof
    lines = slip.splitlines()
    lines[line.line - 1 : line.line - 1 + len(line.code.splitlines())] = line.mended.splitlines()
    assert report_of(tmp_path, "\n".join(lines)).verdict == "right"


@pytest.mark.parametrize(
    ("source", "gone"), [(TAGGER, '        g["b"] += dz.sum(axis=0)'), (TAGGER, '    g["V"] += 0.1 * p["V"]')]
)
def test_a_sum_that_is_missing_is_said_beside_where_it_belongs(source, gone, tmp_path):
    lines = source.splitlines()
    number = lines.index(gone) + 1
    del lines[number - 1]
    report = report_of(tmp_path, "\n".join(lines), timeout=300)
    (line,) = report.lines
    assert line.mended is not None
    assert gone.strip() in line.mended
    assert "is missing" in line.explanation
    assert any(abs(n - number) <= 2 for n in [line.line, *(o.line for o in line.alternatives)]), str(report)


def test_two_entries_in_each_others_place_are_one_fault(tmp_path):
    source, first = slipped(GATED, 'grads["W"] = x.T @ dz', 'grads["G"] = x.T @ dz')
    source, second = slipped(source, 'grads["G"] = x.T @ ds', 'grads["W"] = x.T @ ds')
    report = report_of(tmp_path, source, timeout=300)
    (line,) = report.lines
    assert line.line in (first, second), str(report)
    assert line.mended is not None


def test_two_faults_of_which_one_spoils_all_are_both_named(tmp_path):
    source, first = slipped(GATED, "de = 2 * e / len(x)", "de = 2 * e")
    source, second = slipped(source, "ds = dgate * gate * (1 - gate)", "ds = dgate * gate * (1 + gate)")
    report = report_of(tmp_path, source, timeout=300)
    assert {line.line for line in report.lines} == {first, second}, str(report)
    assert all(line.mended is not None for line in report.lines)


@pytest.mark.parametrize("where", ["all", "last", "last of each call"])
def test_a_place_that_other_data_never_reach_has_no_events(where, tmp_path):
    module = written(tmp_path, GATED)
    author = adapt(module.loss_and_gradients, module.parameters, (module.x, module.y), {})
    draw = drawn(Program(author.fresh, author.loss, Sources()), module.parameters, (module.x, module.y))
    assert events_at(draw, 10**6, where) == []


def test_to_first_order_a_value_moves_the_gradients_as_a_run_with_it_does(tmp_path):
    module = written(tmp_path, GATED)
    author = adapt(module.loss_and_gradients, module.parameters, (module.x, module.y), {})
    program = Program(author.fresh, author.loss, Sources())
    draw = drawn(program, module.parameters, (module.x, module.y))
    found = sensitivity(program, draw)
    assert found is not None
    r = np.random.default_rng(0)
    sites = program.sources.sites
    linear = [s for s in draw.values if sites[s].target in ("de", "dout", "dh", "da", "du", "dz")]
    assert len(linear) >= 6
    for site in linear:
        for k in draw.backward(site):
            old = draw.values[site][k]
            new = old + r.normal(size=old.shape)
            hand = program.run(draw.parameters, draw.data, {(site, k): new})[1]
            for name, slopes in found.slopes.items():
                moved = float((found.random[name] * (hand[name] - draw.hand[name])).sum())
                slope = slopes.get((site, k), np.zeros(old.shape))
                assert np.isclose(moved, float((slope * (new - old)).sum()), rtol=1e-7, atol=1e-12)
