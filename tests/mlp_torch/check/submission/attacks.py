"""Files that try to be passed without a right gradient: a name, and the source, whose `f` is checked.

WRONG's gradient has the opposite sign. Each attack begins with it, and none may come out as 0.
"""

WRONG = """
import numpy as np

parameters = {"w": np.array([0.3, -0.2, 0.5, 0.1])}
x, y = np.random.default_rng(0).normal(size=(6, 4)), np.arange(6.0)


def f(p, x, y):
    e = x @ p["w"] - y
    return (e**2).mean(), {"w": -2 * x.T @ e / len(y)}
"""

FORGED = """
from mlp_torch.check.report import ArrayRow, CheckReport
row = ArrayRow("w", "right", (4,), (0,), 1.0, 1.0, 1.0, 0.0, 1.0, 0.0)
FORGED = CheckReport("right", {"w": row}, message="dw: every gradient is right")
import mlp_torch.check.submission.child as child, mlp_torch.check.functions.values as values
pack = child.pack
child.pack = lambda said: pack({**said, "report": FORGED} if "report" in said else said)
"""

# What follows WRONG's source.
ATTACKS = {
    "leaves when it is imported": "import sys\nsys.exit(0)\n",
    "ends the process when it is imported": "import os\nos._exit(0)\n",
    "ends the process when it is called": "import os\ndef f(p, x, y):\n    os._exit(0)\n",
    "leaves when it is called": "import sys\ndef f(p, x, y):\n    sys.exit(0)\n",
    "ends the process at its end": "import atexit, os\natexit.register(os._exit, 0)\n",
    "ends the process from a thread": (
        "import os, threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.05), os._exit(0)), daemon=True).start()\n"
        "time.sleep(1)\n"
    ),
    "kills itself": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "goes on in a fork": "import os\nif os.fork():\n    os._exit(0)\n",
    "becomes another program": "import os\nos.execvp('true', ['true'])\n",
    "crashes": "import ctypes\nctypes.string_at(0)\n",
    "raises what is no Exception": "class E(BaseException):\n    pass\n\ndef f(p, x, y):\n    raise E\n",
    "gives a report of its own": FORGED + "def f():\n    return FORGED\n",
    "gives a report of nothing": (
        "from mlp_torch.check.report import CheckReport\ndef f():\n    return CheckReport('right', {})\n"
    ),
    "has no parameters": "parameters = {}\ndef f(p, x, y):\n    return 1.0, {}\n",
    "has empty parameters": (
        "parameters = {'w': np.zeros((0, 3))}\ndef f(p, x, y):\n    return 1.0, {'w': np.zeros((0, 3))}\n"
    ),
    "has a loss of nothing": "def f(p, x, y):\n    return 0.0, {'w': np.zeros(4)}\n",
    "changes norm": "np.linalg.norm = lambda *a, **k: 0.0\n",
    "changes what arrays are compared by": (
        "np.abs = lambda v, *a, **k: np.zeros(np.shape(v))\nnp.max = lambda *a, **k: 0.0\n"
        "np.allclose = np.array_equal = lambda *a, **k: True\n"
    ),
    "changes torch": (
        "import torch\ntorch.autograd.grad = lambda out, v, **k: [\n"
        "    torch.from_numpy(f(parameters, x, y)[1]['w'])] * len(v)\n"
    ),
    "changes the check": (
        "import mlp_torch.check.functions.function as m, mlp_torch.check.functions.purity as p\n"
        "judge = m.judge\nm.wrong_elsewhere = lambda *a: {}\n"
        "m.judge = lambda *a: judge(*a[:5], a[0].gradient, *a[6:])\n"
    ),
    "changes the report": (FORGED),
    "changes the comparison": (
        "import mlp_torch.check.functions.verdict as m, mlp_torch.check.report as r\n"
        "import mlp_torch.check.functions.function as g\ng.wrong_elsewhere = lambda *a: {}\n"
        "row = r.row\n"
        "m.compare = lambda h, t, *a, **k: ('right', {n: row(n, t[n], t[n], True) for n in h}, [])\n"
    ),
    "has the gradient's own sign, and a right report": (
        FORGED + "def f(p, x, y):\n    e = x @ p['w'] - y\n"
        "    return (e**2).mean(), {'w': 2.001 * x.T @ e / len(y)}\n"
    ),
    "a right report, and no values": (
        FORGED + "values.Values.at = lambda *a: {'loss': float('nan'), 'gradients': {}}\n"
    ),
    "a right report, and the process ends": (
        FORGED + "import os\nvalues.Values.at = lambda *a: os._exit(0)\n"
    ),
    "a right report, and a level loss": (
        FORGED + "values.Values.at = lambda *a: {'loss': 1.0, 'gradients': {'w': np.zeros(4)}}\n"
    ),
    "a right report, and a loss that is noise": (
        FORGED + "draw = np.random.default_rng().normal\n"
        "values.Values.at = lambda *a: {'loss': draw(), 'gradients': {'w': np.ones(4)}}\n"
    ),
    "writes right where answers go": (
        "import os\nfor n in range(3, 20):\n    try:\n        os.write(n, b'right' * 100)\n"
        "    except OSError:\n        pass\n"
    ),
    "writes right on stdout and ends": "import os\nos.write(1, b'right: all')\nos._exit(0)\n",
    "never ends": "while True:\n    pass\n",
    "never ends when it is called": "def f(p, x, y):\n    while True:\n        pass\n",
    "never ends, and heeds no signal": (
        "import signal, time\nfor s in (signal.SIGTERM, signal.SIGINT):\n"
        "    signal.signal(s, signal.SIG_IGN)\n"
        "while True:\n    time.sleep(1)\n"
    ),
    "takes all memory": "held = []\nwhile True:\n    held.append(np.ones(10_000_000))\n",
    "takes all memory when it is called": (
        "def f(p, x, y):\n    held = []\n    while True:\n        held.append(bytearray(100_000_000))\n"
    ),
    "calls itself without end": "def f(p, x, y):\n    return f(p, x, y)\n",
    "calls itself until the stack is full": (
        "import sys\nsys.setrecursionlimit(10**9)\nf = lambda p, x, y: [f(p, x, y) for _ in 'x']\n"
    ),
}

# What names no attack: the same honest words, whatever else the file leaves behind.
HARMLESS = {
    "leaves a thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n",
    "leaves a process": "import subprocess\nsubprocess.Popen(['sleep', '1000'])\n",
    "leaves a fork": "import os, time\nif not os.fork():\n    time.sleep(1000)\n    os._exit(0)\n",
    "prints a lot": "print('spam ' * 1_000_000)\nimport os\nos.write(1, b'spam' * 100_000)\n",
    "registers an atexit": "import atexit, os\natexit.register(os._exit, 3)\n",
}
