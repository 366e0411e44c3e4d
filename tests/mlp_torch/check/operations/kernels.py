"""Right kernels as people write them, with reference and inputs."""

import torch
from torch import Tensor
from torch.nn import functional

DOUBLE = torch.float64


def draw(*shape: int, dtype: torch.dtype = DOUBLE, number: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(number), dtype=DOUBLE).to(dtype)


def kernel(forward, backward):
    """A torch.autograd.Function of two functions of ctx."""
    return type("Kernel", (torch.autograd.Function,), {
        "forward": staticmethod(forward), "backward": staticmethod(backward),
    })  # fmt: skip


class Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b):
        ctx.save_for_backward(x, w)
        return x @ w.T + b

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w, g.T @ x, g.sum(0)


class LayerNorm(torch.autograd.Function):
    """With float32 inside, as kernels are written for bfloat16."""

    @staticmethod
    def forward(ctx, x, gamma, beta):
        wide = x if x.dtype == DOUBLE else x.float()
        away = wide - wide.mean(-1, keepdim=True)
        s = torch.rsqrt((away**2).mean(-1, keepdim=True) + 1e-5)
        ctx.save_for_backward(away * s, s, gamma)
        return (away * s * gamma + beta).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        hat, s, gamma = ctx.saved_tensors
        wide = g.to(hat.dtype)
        d = wide * gamma
        dx = s * (d - d.mean(-1, keepdim=True) - hat * (d * hat).mean(-1, keepdim=True))
        return dx.to(g.dtype), (wide * hat).sum((0, 1)).to(g.dtype), wide.sum((0, 1)).to(g.dtype)


class RMSNorm(torch.autograd.Function):
    """In float32, whatever comes in."""

    @staticmethod
    def forward(ctx, x, gamma):
        wide = x.float()
        s = torch.rsqrt((wide**2).mean(-1, keepdim=True) + 1e-6)
        ctx.save_for_backward(wide * s, s, gamma)
        return (wide * s * gamma.float()).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        hat, s, gamma = ctx.saved_tensors
        d = g.float() * gamma.float()
        dx = s * (d - hat * (d * hat).mean(-1, keepdim=True))
        return dx.to(g.dtype), (g.float() * hat).sum((0, 1)).to(g.dtype)


class Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 0.5 * x * (1 + torch.erf(x / 2**0.5))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        density = torch.exp(-0.5 * x * x) / (2 * torch.pi) ** 0.5
        return g * (0.5 * (1 + torch.erf(x / 2**0.5)) + x * density)


class CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, y):
        p = torch.softmax(z, -1)
        ctx.save_for_backward(p, y)
        return torch.nn.functional.nll_loss(torch.log_softmax(z, -1), y)

    @staticmethod
    def backward(ctx, g):
        p, y = ctx.saved_tensors
        return g * (p - functional.one_hot(y, p.shape[-1])) / len(y), None


def rotated(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Rotary(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, cos, sin):
        ctx.save_for_backward(cos, sin)
        return rotated(x, cos, sin)

    @staticmethod
    def backward(ctx, g):
        cos, sin = ctx.saved_tensors
        return rotated(g, cos, -sin), None, None


class SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * torch.sigmoid(a) * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        s = torch.sigmoid(a)
        return g * b * (s + a * s * (1 - s)), g * a * s


class Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        kept = (torch.rand_like(x) < 0.5).to(x.dtype) * 2
        ctx.save_for_backward(kept)
        return x * kept

    @staticmethod
    def backward(ctx, g):
        (kept,) = ctx.saved_tensors
        return g * kept


class Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, index):
        ctx.save_for_backward(index)
        ctx.rows = table.shape[0]
        return table[index]

    @staticmethod
    def backward(ctx, g):
        (index,) = ctx.saved_tensors
        return g.new_zeros(ctx.rows, g.shape[-1]).index_add(
            0, index.flatten(), g.reshape(-1, g.shape[-1])
        ), None


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g


class Clamped(torch.autograd.Function):
    """In place: what comes in is overwritten and marked dirty."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x > 0)
        ctx.mark_dirty(x)
        return x.mul_(x > 0)

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0]


class Best(torch.autograd.Function):
    """A value, and the place it came from, which no gradient goes through."""

    @staticmethod
    def forward(ctx, x):
        value, index = x.max(-1)
        ctx.save_for_backward(index)
        ctx.width = x.shape[-1]
        ctx.mark_non_differentiable(index)
        return value, index

    @staticmethod
    def backward(ctx, g, _):
        (index,) = ctx.saved_tensors
        return g.new_zeros(*g.shape, ctx.width).scatter(-1, index[..., None], g[..., None])


ANGLES = draw(6, 4)
X = draw(5, 7)
RIGHT = {
    "linear": (Linear, lambda x, w, b: functional.linear(x, w, b), [X, draw(3, 7), draw(3)]),
    "layer norm": (
        LayerNorm, lambda x, g, b: functional.layer_norm(x, (8,), g, b), [draw(2, 5, 8), draw(8), draw(8)],
    ),
    "rms norm": (RMSNorm, lambda x, g: functional.rms_norm(x, (8,), g, 1e-6), [draw(2, 5, 8), draw(8)]),
    "gelu": (Gelu, functional.gelu, [X]),
    "cross entropy": (CrossEntropy, functional.cross_entropy, [X, torch.tensor([0, 6, 2, 2, 1])]),
    "rotary": (
        Rotary, rotated, [draw(2, 6, 8).requires_grad_(), torch.cos(ANGLES), torch.sin(ANGLES)],
    ),
    "swiglu": (SwiGLU, lambda a, b: functional.silu(a) * b, [X, draw(5, 7, number=2)]),
    "dropout": (Dropout, lambda x: x * (torch.rand_like(x) < 0.5) * 2, [X]),
    "embedding": (
        Embedding, lambda t, i: functional.embedding(i, t), [draw(9, 4), torch.tensor([[1, 3], [1, 8]])],
    ),
    "straight through": (StraightThrough, lambda x: x + (x.round() - x).detach(), [X]),
    "in place": (Clamped, lambda x: torch.relu(x), [X]),
    "best": (Best, lambda x: tuple(x.max(-1)), [X]),
}  # fmt: skip
