"""`mlp check` on files as people have them, and the pytest fixture."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from mlp_torch.__main__ import main

FILE = """
import numpy as np

def sigmoid(z):
    return 1 / (1 + np.exp(-z))

def train(epochs=10):
    return 0

def loss_and_gradients(p, x, y):
    print("called")
    e = x @ p["w"] - y
    return (e**2).mean(), {"w": 2 * x.T @ e / len(y)}

def predict(x, w):
    return x @ w

def of_data_first(x, y, p):
    return loss_and_gradients(p, x, y)

def everything():
    return of_data_first, parameters, x, y

def nothing_useful():
    return 3

def named():
    return {"nonsense": 1}

def raises(p, x, y):
    d = x @ p["w"].reshape(2, 2)
    return d

def leaves(p, x, y):
    import sys
    sys.exit(3)

class Net:
    def __init__(self):
        self.w = parameters["w"]

    def loss(self, x, y):
        e = x @ self.w - y
        return (e**2).mean(), {"w": 2 * x.T @ e / len(y)}

parameters = {"w": np.array([0.3, -0.2, 0.5, 0.1])}
x, y = np.random.default_rng(0).normal(size=(6, 4)), np.arange(6.0)
net = Net()
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(FILE)
    return path


def said(capsys, *arguments):
    code = main(["check", *map(str, arguments)])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.mark.parametrize("name", ["loss_and_gradients", "of_data_first", "everything", "net", "net.loss"])
def test_a_function_an_object_or_its_method_is_checked(file, capsys, name):
    code, out, err = said(capsys, f"{file}:{name}")
    assert (code, err) == (0, ""), out
    assert out.startswith("right")


def test_the_functions_print_is_one_note(file, capsys):
    _, out, _ = said(capsys, f"{file}:loss_and_gradients")
    assert out.count("called") == 1
    assert "note: your function printed: called" in out
    _, out, _ = said(capsys, f"{file}:loss_and_gradients", "--json")
    assert json.loads(out)["verdict"] == "right"


def test_a_file_that_prints_and_warns_is_heard_once(file, capsys):
    file.write_text(FILE + "\nprint('training', 3)\nnp.log(np.zeros(1))\n")
    code, out, err = said(capsys, f"{file}:loss_and_gradients", "--json")
    assert (code, err) == (0, "")
    notes = json.loads(out)["notes"]
    assert "note: net.py printed: training 3" in notes
    assert any("net.py warned: RuntimeWarning: divide by zero" in n for n in notes)


def test_a_file_alone_lists_its_functions_the_likeliest_first(file, capsys):
    code, out, err = said(capsys, file)
    assert (code, err) == (2, "")
    lines = out.splitlines()
    assert f"mlp check {file}:loss_and_gradients" in lines[1]
    assert "# line 10: loss_and_gradients(p, x, y)" in lines[1]
    assert "must hold" not in out
    assert any("sigmoid(z)" in line for line in lines[2:])


def test_the_list_says_what_the_file_must_hold_beside(file, capsys):
    file.write_text("raise SystemExit\n\ndef backward(p, x, y):\n    return 1.0, {}\n")
    _, out, _ = said(capsys, file)
    assert "beside it the file must hold parameters, x, y" in out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("none.py", "none.py: no such file"),
        ("none.py:f", "none.py: no such file"),
        ("none.npz", "none.npz: no such file"),
        ("none.txt", "none.txt: no such file"),
        ("", "is a folder"),
        ("net.py:loss_and_gradient", "perhaps you meant"),
        ("net.py:loss_and_gradient", "it has loss_and_gradients,"),
        ("net.py:zzz", "has no function 'zzz'; it has"),
        ("net.py:net.lose", "has no function 'net.lose'"),
        ("net.py:Net", "Net is a class; give an object of it"),
        ("net.py:sigmoid", "sigmoid(z) cannot be called with parameters, x, y"),
        ("net.py:nothing_useful", "takes nothing and gives a int"),
        ("net.py:named", "gives a dict that check_gradients cannot be called with"),
        ("net.py:raises", "raised ValueError"),
        ("net.py:raises", "at net.py:31 in raises: `d = x @ p"),
        ("net.py:leaves", "your function called sys.exit(3)"),
        ("text.txt", "give FILE.npz or FILE.py:function"),
        ("broken.py:f", "broken.py: is no Python: line 2"),
        ("broken.py", "broken.py: is no Python: line 2"),
        ("leaving.py:f", "called sys.exit(4) at leaving.py:2"),
        ("failing.py:f", "cannot be imported: it raised NameError"),
        ("empty.py", "has no function"),
        ("empty.py:f", "has no function 'f'; it has none"),
        ("alone.py:f", "needs `parameters` beside the function"),
    ],
)
def test_a_mistake_is_one_line_and_2(file, capsys, given, words):
    for name, text in {
        "text.txt": "",
        "broken.py": "x = 1\ndef f(:\n",
        "leaving.py": "import sys\nsys.exit(4)\n",
        "failing.py": "y = missing\n",
        "empty.py": "",
        "alone.py": "def f(p, x, y):\n    return 1.0, {}\n",
    }.items():
        (file.parent / name).write_text(text)
    code, out, err = said(capsys, file.parent / given if given else file.parent)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_missing_file_is_said_before_the_flags_of_another(tmp_path, capsys):
    for given in ("a.npz", "a.py:f"):
        _, _, err = said(capsys, tmp_path / given, "--dropout", "0.5")
        assert "no such file" in err


def test_an_interrupt_stays_one(file):
    file.write_text("def f(p, x, y):\n    raise KeyboardInterrupt\n\nparameters, x, y = [1.0], 1, 1\n")
    assert main(["check", f"{file}:f"]) == 130


def test_other_names_of_losses_serve_the_command(tmp_path, capsys):
    x, w, y = np.random.default_rng(0).normal(size=(6, 4)), np.ones((4, 2)), np.zeros((6, 2))
    np.savez(tmp_path / "a.npz", x=x, y=y, W=w, dW=2 * x.T @ (x @ w) / 6)
    code, out, _ = said(capsys, tmp_path / "a.npz", "--activations", "Identity", "--loss", "MSELoss")
    assert code == 0
    assert "taken for squared_error" in out


def test_the_plugin_imports_itself_and_nothing_else_beside_pytest():
    code = """
import sys, pytest
before = {*sys.modules}
import mlp_torch.check.plugin
print(*{*sys.modules} - before)
"""
    new = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert sorted(new) == ["mlp_torch", "mlp_torch.check", "mlp_torch.check.plugin"]


def test_a_suite_that_does_not_use_the_fixture_imports_nothing_of_it(tmp_path):
    (tmp_path / "test_a.py").write_text(
        "import sys\n\n\ndef test_a():\n    assert not {'numpy', 'torch', 'manual'} & set(sys.modules)\n"
    )
    words = ["-q", "-p", "mlp_torch.check.plugin", "-p", "no:cacheprovider", "-p", "no:xdist", "test_a.py"]
    environment = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "pytest", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "1 passed" in done.stdout, done.stdout


def test_the_fixtures_message_begins_with_the_verdict_and_its_sentence(gradient_check):
    def wrong(p, x, y):
        e = x @ p["w"] - y
        return (e**2).mean(), {"w": -2 * x.T @ e / len(y)}

    x, y = np.random.default_rng(0).normal(size=(6, 4)), np.arange(6.0)
    with pytest.raises(pytest.fail.Exception, match=r"^wrong: dw has the opposite sign") as failed:
        gradient_check(wrong, {"w": np.ones(4)}, x, y)
    assert not failed.value.pytrace
    with pytest.raises(pytest.fail.Exception, match=r"^the gradients cannot be checked: your function"):
        gradient_check(lambda p, x, y: p["v"], {"w": np.ones(4)}, x, y)
