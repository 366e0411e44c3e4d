"""Programs with hand-written backward passes, beyond dense layers, and slips: (what stands, what comes)."""

PROGRAMS = {
    "rnn": (
        """
def f(P, xs, ts):
    hs, ys, loss = {-1: np.zeros((4, 1))}, {}, 0
    for t in range(len(xs)):
        x = np.zeros((5, 1))
        x[xs[t]] = 1
        hs[t] = np.tanh(np.dot(P["Wxh"], x) + np.dot(P["Whh"], hs[t - 1]) + P["bh"])
        ys[t] = np.dot(P["Why"], hs[t]) + P["by"]
        ps = np.exp(ys[t]) / np.sum(np.exp(ys[t]))
        ys[t] = ps
        loss += -np.log(ps[ts[t], 0])
    d = {k: np.zeros_like(v) for k, v in P.items()}
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(len(xs))):
        x = np.zeros((5, 1))
        x[xs[t]] = 1
        dy = np.copy(ys[t])
        dy[ts[t]] -= 1
        d["Why"] += np.dot(dy, hs[t].T)
        d["by"] += dy
        dh = np.dot(P["Why"].T, dy) + dhnext
        dhraw = (1 - hs[t] * hs[t]) * dh
        d["bh"] += dhraw
        d["Wxh"] += np.dot(dhraw, x.T)
        d["Whh"] += np.dot(dhraw, hs[t - 1].T)
        dhnext = np.dot(P["Whh"].T, dhraw)
    return loss, d
P = {"Wxh": n(4, 5), "Whh": n(4, 4), "Why": n(5, 4), "bh": n(4, 1), "by": n(5, 1)}
D = ([0, 3, 2, 2, 4], [3, 2, 2, 4, 1])
""",
        [("hs[t - 1].T)", "hs[t].T)"), ("+ dhnext", ""), ('d["bh"] += dhraw', 'd["bh"] = dhraw')],
    ),
    "lstm": (
        """
def sig(z):
    return 1 / (1 + np.exp(-z))

def f(P, x, y):
    N, T, D = x.shape
    H = P["Wh"].shape[0]
    h, c = np.zeros((N, H)), np.zeros((N, H))
    cache, loss = [], 0.0
    for t in range(T):
        a = x[:, t] @ P["Wx"] + h @ P["Wh"] + P["b"]
        i, g_f, o, g = sig(a[:, :H]), sig(a[:, H : 2 * H]), sig(a[:, 2 * H : 3 * H]), np.tanh(a[:, 3 * H :])
        old_h, old_c = h, c
        c = g_f * c + i * g
        h = o * np.tanh(c)
        cache.append((old_h, old_c, i, g_f, o, g, c))
    loss = float(np.sum((h - y) ** 2) / N)
    G = {k: np.zeros(v.shape) for k, v in P.items()}
    dh, dc = 2 * (h - y) / N, np.zeros_like(c)
    for t in range(T - 1, -1, -1):
        old_h, old_c, i, g_f, o, g, c = cache[t]
        tc = np.tanh(c)
        do = dh * tc
        dc = dc + dh * o * (1 - tc**2)
        di, df, dg = dc * g * i * (1 - i), dc * old_c * g_f * (1 - g_f), dc * i * (1 - g**2)
        da = np.hstack([di, df, do * o * (1 - o), dg])
        G["Wx"] += x[:, t].T @ da
        G["Wh"] += old_h.T @ da
        G["b"] += da.sum(axis=0)
        dh, dc = da @ P["Wh"].T, dc * g_f
    return loss, G
P = {"Wx": n(3, 16), "Wh": n(4, 16), "b": n(16)}
D = (n(2, 5, 3), n(2, 4))
""",
        [("dc * old_c *", "dc * c *"), ("dc = dc + dh", "dc = dh"), ("(1 - tc**2)", "(1 - tc)")],
    ),
    "convolution": (
        """
def f(P, x, y):
    W, b = P["W"], P["b"]
    N, C, Hh, Ww = x.shape
    F, _, k, _ = W.shape
    xp = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((N, F, Hh, Ww))
    for i in range(Hh):
        for j in range(Ww):
            patch = xp[:, :, i : i + k, j : j + k]
            out[:, :, i, j] = np.tensordot(patch, W, axes=([1, 2, 3], [1, 2, 3])) + b
    a = np.maximum(0, out)
    pooled = a.reshape(N, F, Hh // 2, 2, Ww // 2, 2).max(axis=(3, 5))
    s = pooled.reshape(N, -1) @ P["V"]
    loss = 0.5 * np.mean((s - y) ** 2)
    ds = (s - y) / s.size
    dV = pooled.reshape(N, -1).T @ ds
    dp = (ds @ P["V"].T).reshape(pooled.shape)
    top = a.reshape(N, F, Hh // 2, 2, Ww // 2, 2) == pooled[:, :, :, None, :, None]
    da = (top * dp[:, :, :, None, :, None]).reshape(a.shape)
    dout = da * (out > 0)
    dW, db = np.zeros_like(W), dout.sum(axis=(0, 2, 3))
    for i in range(Hh):
        for j in range(Ww):
            patch = xp[:, :, i : i + k, j : j + k]
            dW += np.einsum("nf,ncij->fcij", dout[:, :, i, j], patch)
    return loss, {"W": dW, "b": db, "V": dV}
P = {"W": n(2, 3, 3, 3), "b": n(2), "V": n(8, 2)}
D = (n(2, 3, 4, 4), n(2, 2))
""",
        [
            ("(out > 0)", "(out > 3)"),
            ("dW += np", "dW = np"),
            ("axis=(0, 2, 3)", "axis=(0, 2, 3)) / (N"),
            ("dout[:, :, i, j], patch", "dout[:, :, j, i], patch"),
        ],
    ),
    "attention": (
        """
def f(P, x, y):
    q, k, v = x @ P["Wq"], x @ P["Wk"], x @ P["Wv"]
    s = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
    e = np.exp(s - s.max(-1, keepdims=True))
    A = e / e.sum(-1, keepdims=True)
    o = A @ v
    loss = ((o - y) ** 2).mean()
    do = 2 * (o - y) / o.size
    dA, dv = do @ v.swapaxes(1, 2), A.swapaxes(1, 2) @ do
    ds = A * (dA - (dA * A).sum(-1, keepdims=True)) / np.sqrt(q.shape[-1])
    dq, dk = ds @ k, ds.swapaxes(1, 2) @ q
    return loss, {n: np.einsum("nti,ntj->ij", x, d) for n, d in (("Wq", dq), ("Wk", dk), ("Wv", dv))}
P = {"Wq": n(3, 4), "Wk": n(3, 4), "Wv": n(3, 4)}
D = (n(2, 5, 3), n(2, 5, 4))
""",
        [
            ("ds.swapaxes(1, 2) @ q", "ds @ q"),
            (" / np.sqrt(q.shape[-1])\n    dq", "\n    dq"),
            ("dA - (dA", "dA + (dA"),
        ],
    ),
    "norms": (
        """
class Norm:
    def __init__(self, axis):
        self.axis = axis

    def forward(self, x, gamma, beta):
        self.mu = x.mean(axis=self.axis, keepdims=True)
        self.inv = 1 / np.sqrt(x.var(axis=self.axis, keepdims=True) + 1e-5)
        self.hat, self.gamma = (x - self.mu) * self.inv, gamma
        return gamma * self.hat + beta

    def backward(self, d):
        dh = d * self.gamma
        mean = lambda v: v.mean(axis=self.axis, keepdims=True)
        dx = self.inv * (dh - mean(dh) - self.hat * mean(dh * self.hat))
        return dx, (d * self.hat).sum(axis=0), d.sum(axis=0)

def f(P, x, y):
    bn, ln = Norm(0), Norm(-1)
    z = x @ P["W"] + P["b"]
    u = bn.forward(z, P["g1"], P["c1"])
    v = ln.forward(np.tanh(u), P["g2"], P["c2"])
    cost = np.squeeze(np.sum((v - y) ** 2) / x.shape[0])
    assert cost.shape == ()
    dt, dg2, dc2 = ln.backward(2 * (v - y) / x.shape[0])
    dz, dg1, dc1 = bn.backward(dt * (1 - np.tanh(u) ** 2))
    return float(cost), {"W": x.T @ dz, "b": dz.sum(0), "g1": dg1, "c1": dc1, "g2": dg2, "c2": dc2}
P = {"W": n(3, 4), "b": n(4), "g1": n(4), "c1": n(4), "g2": n(4), "c2": n(4)}
D = (n(6, 3), n(6, 4))
""",
        [(" - mean(dh)", ""), ("mean(dh * self.hat)", "0"), ("np.tanh(u) ** 2", "u ** 2")],
    ),
    "word2vec": (
        """
def f(P, center, others, wrong):
    V, U = P["V"], P["U"]
    sigma = lambda z: 1.0 / (1.0 + np.exp(-z))
    loss, gV, gU = 0.0, np.zeros_like(V), np.zeros_like(U)
    for c, o, w in zip(center, others, wrong):
        v = V[c]
        loss -= np.log(sigma(U[o] @ v)) + np.log(sigma(-(U[w] @ v))).sum()
        k = sigma(U[o] @ v) - 1
        gV[c] += k * U[o] + sigma(U[w] @ v) @ U[w]
        gU[o] += k * v
        np.add.at(gU, w, np.outer(sigma(U[w] @ v), v))
    return loss, {"V": gV, "U": gU}
P = {"V": n(6, 3), "U": n(6, 3)}
D = (np.array([0, 2, 2]), np.array([1, 1, 5]), np.array([[3, 3], [4, 0], [2, 1]]))
""",
        [
            ("np.add.at(gU, w, np.outer(sigma(U[w] @ v), v))", "gU[w] += np.outer(sigma(U[w] @ v), v)"),
            ("gU[o] += k", "gU[o] = k"),
            ("gV[c] += k * U[o]", "gV[c] += k * U[c]"),
        ],
    ),
    "vae": (
        """
def f(P, x, eps):
    h = np.where(x @ P["W"] > 0, x @ P["W"], 0.01 * (x @ P["W"]))
    mu, logvar = h @ P["M"], h @ P["L"]
    std = np.exp(logvar / 2)
    z = mu + std * eps
    out = 1 / (1 + np.exp(-(z @ P["D"])))
    rec = -np.sum(x * np.log(out + 1e-12) + (1 - x) * np.log(1 - out + 1e-12))
    kl = -0.5 * np.sum(1 + logvar - mu**2 - np.exp(logvar))
    m = len(x)
    dout = (-x / (out + 1e-12) + (1 - x) / (1 - out + 1e-12)) * out * (1 - out)
    dz = dout @ P["D"].T
    dmu, dlv = dz + mu, dz * eps * std / 2 + 0.5 * (np.exp(logvar) - 1)
    dh = (dmu @ P["M"].T + dlv @ P["L"].T) * np.where(h > 0, 1, 0.01)
    g = {"W": x.T @ dh, "M": h.T @ dmu, "L": h.T @ dlv, "D": z.T @ dout}
    return (rec + kl) / m, {k: v / m for k, v in g.items()}
P = {"W": n(5, 4), "M": n(4, 2), "L": n(4, 2), "D": n(2, 5)}
D = (r.uniform(size=(3, 5)), n(3, 2))
""",
        [
            ("std / 2 +", "std +"),
            ("dz + mu", "dz"),
            ("1, 0.01)\n    g", "1, 0.1)\n    g"),
            ("0.5 * (np.exp(logvar) - 1)", "0.5 * (np.exp(logvar) + 1)"),
        ],
    ),
    "focal": (
        """
def f(P, x, y, gamma):
    p = 1 / (1 + np.exp(-(x @ P["w"] + P["b"])))
    pt = np.where(y == 1, p, 1 - p)
    loss = np.mean(-((1 - pt) ** gamma) * np.log(pt))
    d = gamma * (1 - pt) ** (gamma - 1) * np.log(pt) - (1 - pt) ** gamma / pt
    dz = d * np.where(y == 1, 1, -1) * p * (1 - p) / len(y)
    return loss, {"w": x.T @ dz, "b": np.sum(dz)}
P = {"w": n(3), "b": 0.2}
D = (n(6, 3), np.array([0, 1, 1, 0, 1, 0]), 2.0)
""",
        [("gamma * (1 - pt)", "(1 - pt)"), ("np.where(y == 1, 1, -1) *", ""), ("/ pt", "")],
    ),
    "huber": (
        """
def f(P, x, y):
    e = (x @ P["w"] - y).ravel()
    quadratic = np.minimum(np.abs(e), 1.0)
    loss = np.sum(0.5 * quadratic**2 + (np.abs(e) - quadratic)) / e.size + 0.01 * np.linalg.norm(P["w"]) ** 2
    return loss, {"w": x.T @ np.clip(e, -1, 1).reshape(-1, 1) / e.size + 0.02 * P["w"]}
P = {"w": n(3, 1)}
D = (n(8, 3), 2 * n(8, 1))
""",
        [("np.clip(e, -1, 1)", "np.clip(e, -1, 2)"), ("0.02", "0.01"), ("np.clip(e, -1, 1)", "np.sign(e)")],
    ),
    "triplet": (
        """
def f(P, a, p, q):
    A, B, C = (v @ P["W"] for v in (a, p, q))
    near, far = np.sqrt(((A - B) ** 2).sum(1)), np.sqrt(((A - C) ** 2).sum(1))
    margin = near - far + 1.0
    loss = np.sum(np.maximum(margin, 0))
    on = (margin > 0)[:, None]
    u, v = on * (A - B) / near[:, None], on * (A - C) / far[:, None]
    return loss, {"W": a.T @ (u - v) - p.T @ u + q.T @ v}
P = {"W": n(4, 3)}
D = (n(5, 4), n(5, 4), n(5, 4))
""",
        [("- p.T @ u", ""), ("+ q.T", "- q.T"), ("(margin > 0)", "(margin > -9)")],
    ),
    "policy": (
        """
def f(P, states, actions, rewards):
    back, run = np.zeros_like(rewards), 0.0
    for t in reversed(range(len(rewards))):
        run = rewards[t] + 0.9 * run
        back[t] = run
    back = (back - back.mean()) / (back.std() + 1e-8)
    h = states @ P["W"]
    h[h < 0] = 0
    z = h @ P["V"]
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z)
    p /= p.sum(axis=1, keepdims=True)
    loss = -(np.log(p[range(len(p)), actions]) * back).sum() - 0.1 * -(p * np.log(p)).sum()
    entropy = -(p * np.log(p)).sum(axis=1, keepdims=True)
    d = p.copy()
    d[range(len(p)), actions] -= 1
    d = d * back[:, None] + 0.1 * p * (np.log(p) + entropy)
    dh = d @ P["V"].T
    dh[h <= 0] = 0
    return loss, {"V": h.T @ d, "W": states.T @ dh}
P = {"W": n(4, 6), "V": n(6, 3)}
D = (n(7, 4), r.integers(0, 3, 7), n(7))
""",
        [("(np.log(p) + entropy)", "np.log(p)"), ("dh[h <= 0] = 0", ""), ("* back[:, None]", "")],
    ),
}
