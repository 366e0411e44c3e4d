"""Python backwards of six kinds, each with the slips that it is tried with."""

import torch
from torch.nn import functional

from mlp_torch import check_autograd_function
from tests.mlp_torch.check.lines.written import written
from tests.mlp_torch.check.operations.kernels import draw

HEAD = """import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable


"""
LINEAR = """class Kernel(Function):
    @staticmethod
    def forward(ctx, x, w, b=None):
        ctx.save_for_backward(x, w)
        ctx.biased = b is not None
        out = x @ w.T
        if b is not None:
            out += b
        return out

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        gx = gw = gb = None
        if ctx.needs_input_grad[0]:
            gx = g @ w
        if ctx.needs_input_grad[1]:
            gw = g.T @ x
        if ctx.biased:
            gb = g.sum(0)
        print("a print of the author's")
        return gx, gw, gb
"""
NORM = """class Kernel(Function):
    @staticmethod
    def forward(ctx, x, gamma, beta):
        away = x - x.mean(-1, keepdim=True)
        s = torch.rsqrt((away**2).mean(-1, keepdim=True) + 1e-5)
        ctx.save_for_backward(away * s, s, gamma)
        return away * s * gamma + beta

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        hat, s, gamma = ctx.saved_tensors
        d = g * gamma
        first = d.mean(-1, keepdim=True)
        second = (d * hat).mean(-1, keepdim=True)
        return s * (d - first - hat * second), (g * hat).sum(0), g.sum(0)
"""
SOFTMAX = """class Kernel(Function):
    @staticmethod
    def forward(x, heat):
        y = x.clone()
        y.sub_(y.amax(-1, keepdim=True)).div_(heat).exp_()
        y.div_(y.sum(-1, keepdim=True))
        return y

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.heat = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        gx = g.clone()
        gx.mul_(y)
        gx.sub_(y * gx.sum(-1, keepdim=True))
        gx.div_(ctx.heat)
        return gx, None
"""
EMBEDDING = """class Kernel(Function):
    @staticmethod
    def forward(ctx, table, index):
        ctx.save_for_backward(index)
        ctx.rows = table.shape
        return table[index], table.sum(1)

    @staticmethod
    def backward(ctx, g, total):
        (index,) = ctx.saved_tensors
        grad = torch.zeros(ctx.rows, dtype=g.dtype)
        grad.index_add_(0, index, g)
        grad += total[:, None]
        return grad, None
"""
RECURRENT = """class Kernel(Function):
    @staticmethod
    def forward(ctx, x, w):
        h = torch.zeros_like(x[0])
        hs = [h]
        for t in range(len(x)):
            h = torch.tanh(x[t] + h @ w)
            hs.append(h)
        ctx.save_for_backward(w, *hs)
        return torch.stack(hs[1:])

    @staticmethod
    def backward(ctx, g):
        w, *hs = ctx.saved_tensors
        gx, gw = torch.zeros_like(g), torch.zeros_like(w)
        carry = torch.zeros_like(g[0])
        for t in reversed(range(len(g))):
            gz = (g[t] + carry) * (1 - hs[t + 1] ** 2)
            gx[t] = gz
            gw += hs[t].T @ gz
            carry = gz @ w.T
        return gx, gw
"""
FLOAT = """class Kernel(Function):
    @staticmethod
    def forward(ctx, x):
        wide = x.float()
        s = torch.sigmoid(wide)
        ctx.save_for_backward(wide, s)
        return (wide * s).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        wide, s = ctx.saved_tensors
        return (g.float() * (s + wide * s * (1 - s))).to(g.dtype)
"""


def recurrent(x, w):
    h, found = torch.zeros_like(x[0]), []
    for t in range(len(x)):
        h = torch.tanh(x[t] + h @ w)
        found.append(h)
    return torch.stack(found)


SHORT = torch.float32
# name: (source, reference, inputs, slips)
PROGRAMS = {
    "linear": (
        LINEAR, functional.linear, [draw(5, 7), draw(3, 7, number=2), draw(3, number=3)],
        [("g @ w", "-g @ w"), ("g.T @ x", "x.T @ g"), ("g.sum(0)", "g.mean(0)"), ("g.sum(0)", "x.sum(0)")],
    ),
    "layer norm": (
        NORM, lambda x, a, b: functional.layer_norm(x, (6,), a, b),
        [draw(5, 6), draw(6, number=2), draw(6, number=3)],
        [
            ("d.mean(-1", "d.mean(0"), ("(d * hat).mean", "(d * hat).sum"), ("g * gamma", "g"),
            ("- hat * second", "+ hat * second"),
        ],
    ),
    "softmax in place": (
        SOFTMAX, lambda x, heat: torch.softmax(x / heat, -1), [draw(4, 5), 1.5],
        [("gx.sub_", "gx.add_"), ("gx.mul_(y)", "gx.mul_(g)")],
    ),
    "embedding": (
        EMBEDDING, lambda t, i: (t[i], t.sum(1)), [draw(6, 3), torch.tensor([1, 3, 1, 5])],
        [("index_add_", "index_copy_"), ("total[:, None]", "2 * total[:, None]")],
    ),
    "recurrent": (
        RECURRENT, recurrent, [draw(4, 2, 3), draw(3, 3, number=2)],
        [
            ("hs[t + 1] ** 2", "hs[t] ** 2"), ("gw += hs", "gw = hs"), ("carry = gz @ w.T", "carry = gz @ w"),
        ],
    ),
    "float32 inside": (
        FLOAT, functional.silu, [draw(4, 5, dtype=SHORT)], [("(1 - s)", "(1 + s)"), ("wide * s *", "wide *")],
    ),
}  # fmt: skip
ALL = [(name, old, new) for name, (_, _, _, slips) in PROGRAMS.items() for old, new in slips]


def checked(folder, source, reference, inputs, **options):
    module = written(folder, HEAD + source, "kernel")
    return module, check_autograd_function(module.Kernel, reference, inputs, timeout=60, **options)
