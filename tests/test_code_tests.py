"""Programs judged by tests: the forms of tests, what counts as equal, and programs that want to be taken for right."""

import json
import time
from typing import Any

import pytest

from pipeline.programs.code_gold import Asserts, Call, Pair, Unreadable, read_tests
from pipeline.programs.code_tests import judge_code, program_of, same_output
from pipeline.programs.sandbox import Sandbox, SandboxSettings
from pipeline.verdict import Submission, Verdict

SETTINGS = SandboxSettings(cpu_s=0.5, wall_s=5, memory_mb=256, processes=8)
ADD = {"test_list": ["assert add(1, 2) == 3", "assert add(-1, 1) == 0", "assert add(5, 5) == 10"]}


@pytest.fixture(autouse=True, scope="module")
def _walls() -> None:
    with Sandbox(SETTINGS) as sandbox:
        if sandbox.problem is not None:
            pytest.skip(f"nothing can be shut away on this machine: {sandbox.problem}")


def _judge(program: str, gold: Any, finish_reason: str = "stop", *, settings: SandboxSettings = SETTINGS) -> Verdict:
    gold = gold if isinstance(gold, str) else json.dumps(gold)
    return judge_code(Submission("code", gold, f"Here it is:\n```python\n{program}\n```\n", finish_reason), settings)


# Taking the program out


@pytest.mark.parametrize(
    ("reply", "program"),
    [
        ("So:\n```python\nx = 1\n```\nDone.", "x = 1"),
        ("```py\nx = 1\n```\nBetter:\n```Python\nx = 2\n```", "x = 2"),
        ("```\nx = 1\n```", "x = 1"),
        ("```python\nx = 1\n```\nIt prints\n```\n1\n```", "x = 1"),
        ("```python\nx = 1\n```\nCall it:\n```bash\npython x.py\n```", "x = 1"),
        ("  ```python\n  x = 1\n  ```", "  x = 1"),
        ("````python\nx = '''\n```\n'''\n````", "x = '''\n```\n'''"),
        ("x = 1\nprint(x)", "x = 1\nprint(x)"),
        ("```python\nx = 1\n```\nNo, wait:\n```python\nx = 2", None),
        ("```python\nx = 1", None),
        ("```java\nint x;\n```", None),
        ("", None),
    ],
)
def test_the_last_complete_block_is_the_program(reply: str, program: str | None) -> None:
    assert program_of(reply) == program


def test_a_reply_of_fences_is_read_in_no_time() -> None:
    assert program_of("```\n" * 100_000) is None
    assert program_of("`" * 100_000) is None


# The forms of tests


@pytest.mark.parametrize(
    ("gold", "tests"),
    [
        ({"inputs": ["1\n"], "outputs": ["2\n"]}, [Pair("1\n", "2\n")]),
        ({"inputs": [["1", "2"]], "outputs": [["3"]]}, [Pair("1\n2", "3")]),
        ({"inputs": [[1, 2]], "outputs": [3], "fn_name": "f"}, [Call("f", [1, 2], [3])]),
        ({"inputs": [[[1]]], "outputs": [[3]], "fn_name": "f"}, [Call("f", [[1]], [[3], 3])]),
        ({"inputs": ["[1]\n2"], "outputs": ["[3]"], "fn_name": "f"}, [Call("f", [[1], 2], [[3]])]),
        ([{"input": "1", "output": "2", "testtype": "stdin"}], [Pair("1", "2")]),
        ([{"input": "1", "output": "2", "testtype": "functional", "fn_name": "f"}], [Call("f", [1], [2])]),
        ([{"input": "1", "output": "2", "metadata": {"func_name": "f"}}], [Call("f", [1], [2])]),
        ({"tests": [{"input": "1", "output": "2"}], "fn_name": "f"}, [Call("f", [1], [2])]),
        ({"input_output": '{"inputs": ["1"], "outputs": ["2"]}'}, [Pair("1", "2")]),
        (ADD, Asserts("\n" + "\n".join(ADD["test_list"]), ["add"], [])),
        (["assert f(1)"], Asserts("assert f(1)", ["f"], [])),
        ("import math\nassert f(math.pi)", Asserts("import math\nassert f(math.pi)", ["f"], [])),
        ("assert sum(1, 2) == 3", Asserts("assert sum(1, 2) == 3", [], ["sum"])),
        ("assert abs(f(1) - 2) < 1", Asserts("assert abs(f(1) - 2) < 1", ["f"], [])),
    ],
)
def test_tests_are_read_in_the_forms_that_people_have(gold: Any, tests: Any) -> None:
    assert read_tests(gold if isinstance(gold, str) else json.dumps(gold)) == tests


@pytest.mark.parametrize(
    "gold",
    [
        *(
            "",
            "no tests at all",
            "42",
            "[]",
            "{}",
            "[1]",
            "assert (",
            "x = 1",
            "[" * 100_000,
            '{"inputs": [], "outputs": []}',
        ),
        *('{"inputs": ["1"], "outputs": []}', '[{"input": "1", "output": "2", "testtype": "functional"}]'),
        *('{"test": "def check(c): assert c(1)"}', '{"test": "x = 1", "entry_point": "f"}'),
        '{"inputs": ["x"], "outputs": ["1"], "fn_name": "f"}',
    ],
)
def test_tests_that_cannot_be_read_leave_it_undecided(gold: str) -> None:
    with pytest.raises(Unreadable):
        read_tests(gold)
    verdict = _judge("print(1)", gold)
    assert verdict.verdict == "undecided"
    assert verdict.why.startswith("the gold tests can't be read: ")


# Equal output


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        ("3\n", "3", True),
        ("1 2  \n3\n\n", "1 2\n3", True),
        ("1\n2", "1 2", False),
        ("0.30000000000000004", "0.3", True),
        ("0.3", "0.30", True),
        ("5", "5.0", True),
        ("1e3", "1000.0", True),
        ("5.0", "5", False),
        ("0.3001", "0.3", False),
        ("nan", "0.5", False),
        ("inf", "1e999", False),
        ("YES", "yes", False),
        ("10000000000000000000001", "10000000000000000000000", False),
        ("", "0", False),
        ("0 0", "0", False),
        ("0." + "1" * 200, "0.1", False),
    ],
)
def test_output_is_equal_token_by_token(found: str, expected: str, same: bool) -> None:
    assert same_output(found, expected) is same


# Verdicts


@pytest.mark.parametrize(
    ("program", "gold", "verdict", "why"),
    [
        ("print(int(input()) * 2)", {"inputs": ["1\n", "4"], "outputs": ["2\n", "8"]}, "correct", "all 2 tests"),
        ("print(2)", {"inputs": ["1\n", "4"], "outputs": ["2\n", "8"]}, "wrong", "test 2: wrong output"),
        ("while True: pass", {"inputs": [""], "outputs": [""]}, "wrong", "test 1: cpu"),
        ("print(1", {"inputs": [""], "outputs": ["1"]}, "wrong", "test 1: exit 1: SyntaxError: '(' was never closed"),
        ("print(1)\nexit(3)", {"inputs": [""], "outputs": ["1"]}, "wrong", "test 1: exit 3"),
        ("x = [0] * 10**10", {"inputs": [""], "outputs": [""]}, "wrong", "test 1: memory"),
        ("int('a')", {"inputs": [""], "outputs": [""]}, "wrong", "test 1: exit 1: ValueError: invalid literal"),
        ("import numpy", {"inputs": [""], "outputs": [""]}, "undecided", "test 1: the program needs numpy"),
        ("def f(a, b): return a, b", {"inputs": [[1, 2]], "outputs": [[1, 2]], "fn_name": "f"}, "correct", "all 1"),
        ("def f(a): return {3: a}", {"inputs": ["1"], "outputs": ['{"3": 1}'], "fn_name": "f"}, "correct", "all 1"),
        (
            "def f(a): return {a}",
            {"inputs": ["1"], "outputs": ["[1]"], "fn_name": "f"},
            "wrong",
            "test 1: exit 1: TypeErr",
        ),
        (
            "def g(a): return a",
            {"inputs": ["1"], "outputs": ["1"], "fn_name": "f"},
            "wrong",
            "test 1: exit 1: NameError",
        ),
        (
            "class Solution:\n    def f(self, xs: List[int]) -> int:\n        return Counter(xs).most_common(1)[0][0]",
            [{"input": "[1, 2, 2]", "output": "2", "fn_name": "f"}, {"input": "[3]", "output": "3", "fn_name": "f"}],
            "correct",
            "all 2 tests",
        ),
        ("def add(a, b): return a + b", ADD, "correct", "all 3 tests"),
        ("def add(a, b): return a + b if a > 0 else 1", ADD, "wrong", "test 2: wrong output"),
        ("def add(a, b): return a // (a + 1)", ADD, "wrong", "test 1: wrong output"),
        (
            "def add(a, b): return 3 // (a + 1)",
            ["assert add(0, 0) == 3", *ADD["test_list"][1:]],
            "wrong",
            "test 2: exit 1: Z",
        ),
        ("def add(a, b):\n    while b > 1: pass\n    return a + b", ADD["test_list"][::-1], "wrong", "test 1: cpu"),
        ("def add(a, b):\n    while a == 1: pass\n    return a + b", ADD["test_list"][::-1], "wrong", "test 3: cpu"),
        ("def sum(a, b): return a + b", ["assert sum(1, 2) == 3"], "correct", "all 1 tests"),
        ("def f(xs): xs.sort()", "xs = [2, 1]\nf(xs)\nassert xs == [1, 2]", "correct", "all 1 tests"),
        ("def f(n): yield from range(n)", ["assert list(f(3)) == [0, 1, 2]"], "correct", "all 1 tests"),
        ("def f(n): return n ** 100", ["assert f(10) == 10 ** 100"], "correct", "all 1 tests"),
        (
            "def f(): return {(1, 2): {3.5}, None: b'x', 'k': 1j}",
            ["assert f()[(1, 2)] == {3.5}"],
            "correct",
            "all 1 tests",
        ),
        (
            "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b\ndef first(ps): return [p.a for p in ps]",
            ["assert first([Pair(1, 2), Pair(3, 4)]) == [1, 3]"],
            "correct",
            "all 1 tests",
        ),
        (
            "def f(x): raise ValueError(x)",
            "try:\n    f(1)\n    assert False\nexcept ValueError: assert True",
            "correct",
            "all 1",
        ),
        (
            "def inc(x): return x + 1",
            {
                "test": "def check(candidate):\n    for x in range(9): assert candidate(x) == x + 1",
                "entry_point": "inc",
            },
            "correct",
            "all 1 tests",
        ),
        (
            "def inc(x): return x + 1",
            {"test": "def check(candidate):\n    assert candidate(1) == helper(1)", "entry_point": "inc"}
            | {"prompt": "def helper(x): return x + 1\n\ndef inc(x):\n    '''One more.'''\n"},
            "correct",
            "all 1 tests",
        ),
    ],
)
def test_verdicts(program: str, gold: Any, verdict: str, why: str) -> None:
    judged = _judge(program, gold)
    assert (judged.verdict, judged.why[: len(why)], judged.found) == (verdict, why, program)


@pytest.mark.parametrize(
    ("program", "gold", "seen"),
    [
        ("import time\ntime.sleep(0.3)\nprint(1)", {"inputs": [""] * 100, "outputs": ["1"] * 100}, range(2, 6)),
        (
            "import time\ndef f(a):\n    time.sleep(0.3)\n    return a",
            {"inputs": ["1"] * 100, "outputs": ["1"] * 100, "fn_name": "f"},
            range(2, 6),
        ),
        (
            "import time\ndef f(a):\n    time.sleep(a)\n    return a",
            ["assert f(0) == 0", "assert f(4) == 4"],
            range(2, 3),
        ),
    ],
    ids=["input and output", "calls", "asserts"],
)
def test_all_tests_of_a_reply_share_one_time(program: str, gold: Any, seen: range) -> None:
    settings, began = SETTINGS.model_copy(update={"total_s": 1.2}), time.monotonic()
    verdict = _judge(program, gold, settings=settings)
    assert time.monotonic() - began < 4
    assert verdict.verdict == "undecided"
    assert verdict.why in {f"test {number}: all tests together ran past 1.2 s" for number in seen}


def test_a_test_that_failed_before_the_time_was_over_makes_it_wrong() -> None:
    settings = SETTINGS.model_copy(update={"total_s": 20, "wall_s": 0.5})
    tests = {"inputs": ["0", "9"], "outputs": ["1", "1"]}
    slow = "import time\ntime.sleep(int(input()))\nprint(1)"
    assert _judge(slow, tests, settings=settings).why == "test 2: time"
    settings = SETTINGS.model_copy(update={"total_s": 1})
    slow = "import time\ntime.sleep(int(input()))\nprint(2)"
    assert _judge(slow, tests, settings=settings) == Verdict("wrong", slow, "test 1: wrong output")


def test_a_truncated_reply_and_one_without_a_program_are_wrong() -> None:
    assert _judge("print(1)", ADD, finish_reason="length") == Verdict("wrong", None, "truncated")
    reply = Submission("code", json.dumps(ADD), "```python\nprint(1)", "stop")
    assert judge_code(reply, SETTINGS) == Verdict("wrong", None, "no_answer")


def test_what_was_found_is_bounded() -> None:
    judged = _judge("#" * 5000 + "\nprint(1)", {"inputs": [""], "outputs": ["1"]})
    assert judged.verdict == "correct"
    assert judged.found == "#" * 2000


# Programs that want to be taken for right


FORGERIES = {
    "ends with success": "import os\nos._exit(0)",
    "ends with success when called": "import os\ndef add(a, b): os._exit(0)",
    "raises SystemExit": "def add(a, b): raise SystemExit(0)",
    "writes to every descriptor": """
import os
for number in range(64):
    for text in (b'{"passed": 3}', b'4\\n{"passed": 3}\\n'):
        try: os.write(number, text)
        except OSError: pass
os._exit(0)
""",
    "equals everything": """
class Yes(int):
    __eq__ = __lt__ = lambda self, other: True
    __sub__ = __abs__ = __round__ = lambda self, *other: self
def add(a, b): return Yes(7)
""",
    "is a list that equals everything": """
class Yes(list):
    __eq__ = lambda self, other: True
def add(a, b): return Yes()
""",
    "changes the builtins": """
import builtins
builtins.AssertionError = type(None)
builtins.abs = builtins.round = abs = lambda *x: 0
def add(a, b): return 99
""",
    "changes the modules": """
import ast, json
json.dumps = lambda *a, **k: '{"value": 3, "passed": 3}'
ast.parse = None
def add(a, b): return 99
""",
    # The next four would give right answers if they found the tests.
    "looks through the frames": """
import sys
def add(a, b):
    frame = sys._getframe()
    while frame:
        if 'ass' 'ert add' in repr(frame.f_locals) + repr(frame.f_globals): return a + b
        frame = frame.f_back
    return 99
""",
    "looks through its memory": """
import gc
def add(a, b):
    word = 'assert ' + 'add'
    held = [one for one in gc.get_objects() if isinstance(one, (str, list, dict, tuple)) and one is not gc]
    return a + b if any(isinstance(one, dict) and word in repr(list(one.values())) for one in held) else 99
""",
    "reads the tests from its parent": """
import os
def add(a, b):
    for name in ('fd/0', 'fd/4', 'mem', 'environ', 'task/2/fd/0', 'root/dev/stdin'):
        try:
            if open(f'/proc/{os.getppid()}/{name}', 'rb').read() is not None: return a + b
        except OSError: pass
    return 99
""",
    "reads the input again": """
import os
def add(a, b):
    for number in range(64):
        try:
            os.lseek(number, 0, 0)
            if os.read(number, 10**6): return a + b
        except OSError: pass
    return 99
""",
    "kills the tests": "import os\ndef add(a, b): os.kill(os.getppid(), 9)",
    "kills everybody": "import os\nos.kill(-1, 9)",
    "answers before it is asked": """
import os
for number in range(4, 64):
    try: os.write(number, b'{"value": 3}\\n' * 100)
    except OSError: pass
def add(a, b): return 99
""",
    "answers with rubbish": """
import os
for number in range(4, 64):
    try: os.write(number, b'[' * 50000 + b'\\n{}\\n{"value": {"x": 1}}\\nnull\\n')
    except OSError: pass
""",
    "is not a number": "def add(a, b): return float('nan')",
    "catches its own failure": "import atexit, os\natexit.register(os._exit, 0)\n1/0",
}


@pytest.mark.parametrize("program", FORGERIES.values(), ids=FORGERIES.keys())
def test_no_forgery_passes_asserts(program: str) -> None:
    assert _judge(program, [*ADD["test_list"], "assert abs(add(0.5, 0.5) - 1) < 1e-9"]).verdict == "wrong"


@pytest.mark.parametrize("program", FORGERIES.values(), ids=FORGERIES.keys())
def test_no_forgery_passes_calls(program: str) -> None:
    gold = {"inputs": [[1, 2], [-1, 1]], "outputs": [3, 0], "fn_name": "add"}
    assert _judge(program, gold).verdict == "wrong"


def test_what_is_right_never_enters_the_sandbox_with_input_and_output() -> None:
    # It prints all that it can read; the right answer is not among it.
    program = (
        "import glob, os, sys\nprint(sys.stdin.read(), os.environ, sys.argv, sys._getframe().f_globals)\n"
        "for path in glob.glob('/proc/*/*') + glob.glob('/tmp/*'):\n"
        "    try: print(open(path, 'rb').read(100000))\n    except OSError: pass\n"
    )
    with Sandbox(SETTINGS) as sandbox:
        assert "31337" not in sandbox.run(program, stdin="1").stdout
    assert _judge(program, {"inputs": ["1"], "outputs": ["31337"]}).verdict == "wrong"


def test_an_object_that_stays_in_the_program_is_not_called_wrong() -> None:
    judged = _judge("class Own: pass\ndef f(): return Own()", ["assert f() == 3"])
    assert judged.verdict == "undecided"
    assert judged.why.startswith("test 1: a value that the test needs")
