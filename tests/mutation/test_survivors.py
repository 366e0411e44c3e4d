"""How mutants are told apart and explained; the mutants themselves take minutes (`run.py`)."""

import pytest

from tests.mutation.modules import SUBJECTS
from tests.mutation.run import EXPLAINED, ROOT, change, explained

DIFF = """--- manual/a.py
+++ manual/a.py
@@ -1,3 +1,3 @@
 def f(z):
-    return z < 0
+    return z <= 0
"""


def test_a_diff_becomes_the_change_that_a_block_explains() -> None:
    assert change(DIFF) == ("return z < 0", "return z <= 0")
    known = explained("heading\n\nmanual/a.py\n- return z < 0\n+ return z <= 0\nNo z is 0.\n")
    assert known == {change(DIFF): "manual/a.py No z is 0."}


def test_every_explained_line_stands_in_its_module_and_has_a_reason() -> None:
    for (minus, _), reason in explained(EXPLAINED.read_text(encoding="utf-8")).items():
        file, _, why = reason.partition(" ")
        assert file in {module for subject in SUBJECTS.values() for module in subject.modules}
        assert minus in (ROOT / file).read_text(encoding="utf-8"), minus
        assert why


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_table_names_modules_and_tests_that_are_there(name: str) -> None:
    for module in SUBJECTS[name].modules:
        assert (ROOT / module).is_file()
    for test in SUBJECTS[name].tests:
        file, _, function = test.partition("::")
        assert f"def {function}" in (ROOT / file).read_text(encoding="utf-8"), test
