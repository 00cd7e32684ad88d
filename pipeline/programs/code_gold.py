"""The tests of a code problem, read from the forms that data sets write them in.

    {"inputs": [...], "outputs": [...]}                 APPS, TACO: input and output as text or lines
    {"inputs": [...], "outputs": [...], "fn_name": f}   the same for calls of f: lists of arguments, or JSON a line
    [{"input": ..., "output": ..., "testtype": ...}]    LiveCodeBench; "functional" ones need fn_name
    {"tests": [...], "fn_name": f}                      the same with a name for all
    {"test_list": [asserts], "test_setup_code": ...}    MBPP; also test_imports, a list of lines
    [asserts] or plain text                             asserts
    {"test": "def check(candidate)...", "entry_point"}  HumanEval; "prompt" may give the helpers that the test uses
    {"input_output": JSON}                              any of these as the text of one field

LiveCodeBench's private tests are pickled: unpack them before, a pickle is a program.
"""

import ast
import builtins
import json
from dataclasses import dataclass, replace
from typing import Any

_FORMS = "give inputs and outputs, input_output, tests, test_list, or test and entry_point"


class Unreadable(Exception):
    """Tests in no form that is known; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What goes in, and what must come out."""

    stdin: str
    stdout: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function (or of a method of the class Solution), and the values that are right."""

    name: str
    arguments: list[Any]
    expected: list[Any]


@dataclass(frozen=True, slots=True)
class Asserts:
    """Python text whose asserts must hold; `before` is run ahead of the program, for what it may take as given.

    `names` are what it takes from the program. `shadowed` is the builtin that it calls when it takes nothing else: the
    program's own, if it defines one; never together with other names, or a program could redefine `abs` for the test.
    """

    source: str
    names: list[str]
    shadowed: list[str]
    before: str = ""

    def numbered(self) -> str:
        """The text with a note before every assert that it is the next to run: a call of `__ran__` with its number."""
        return ast.unparse(ast.fix_missing_locations(_Numbered().visit(ast.parse(self.source))))


class _Numbered(ast.NodeTransformer):
    def __init__(self) -> None:
        self._count = 0

    def visit_Assert(self, node: ast.Assert) -> list[ast.stmt]:
        self._count += 1
        return [ast.parse(f"__ran__({self._count})").body[0], node]


Tests = list[Pair] | list[Call] | Asserts


def read_tests(gold: str) -> Tests:
    """The tests that `gold` holds, at least one. Raises Unreadable."""
    try:
        data = json.loads(gold)
    except ValueError:
        return _asserts(gold)
    except RecursionError as error:
        raise Unreadable("JSON nested too deep") from error
    return _read(data)


def _read(data: Any) -> Tests:
    if isinstance(data, str):
        return _asserts(data)
    if isinstance(data, list):
        return _listed(data, name=None)
    if not isinstance(data, dict):
        raise Unreadable(f"{type(data).__name__} instead of an object, a list or text")
    if isinstance(data.get("input_output"), str):
        return read_tests(data["input_output"])
    if "inputs" in data and "outputs" in data:
        return _columns(data)
    if isinstance(data.get("tests"), list):
        return _listed(data["tests"], name=_name(data))
    if isinstance(data.get("test_list"), list):
        before = data.get("test_imports") or []
        setup = [data.get("test_setup_code") or "", *(before if isinstance(before, list) else [before])]
        return _asserts("\n".join(str(part) for part in [*setup, *data["test_list"]]))
    if isinstance(data.get("test"), str):
        return _checked(data)
    raise Unreadable(f"no known form in the fields {', '.join(map(str, data))[:60] or 'of {}'}: {_FORMS}")


def _columns(data: dict[str, Any]) -> Tests:
    inputs, outputs, name = data["inputs"], data["outputs"], _name(data)
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise Unreadable("inputs and outputs are not two lists of one length")
    if not inputs:
        raise Unreadable("there are no tests")
    if name is None:
        return [Pair(_text(given), _text(wanted)) for given, wanted in zip(inputs, outputs, strict=True)]
    return [_call(name, given, wanted) for given, wanted in zip(inputs, outputs, strict=True)]


def _listed(tests: list[Any], *, name: str | None) -> Tests:
    if not tests:
        raise Unreadable("there are no tests")
    if all(isinstance(test, str) for test in tests):
        return _asserts("\n".join(tests))
    if not all(isinstance(test, dict) and "input" in test and "output" in test for test in tests):
        raise Unreadable("a test is no object with input and output")
    names = [_name(test) or name for test in tests]
    functional = [test.get("testtype") == "functional" or bool(named) for test, named in zip(tests, names, strict=True)]
    if not any(functional):
        return [Pair(_text(test["input"]), _text(test["output"])) for test in tests]
    if not all(functional) or not all(names):
        raise Unreadable("a functional test has no fn_name")
    return [_call(str(named), test["input"], test["output"]) for test, named in zip(tests, names, strict=True)]


def _name(data: dict[str, Any]) -> str | None:
    inner = data.get("metadata")
    for holder in (data, inner if isinstance(inner, dict) else {}):
        for key in ("fn_name", "func_name"):
            if isinstance(holder.get(key), str) and holder[key]:
                return str(holder[key]).removeprefix("Solution().")
    return None


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(str(line) for line in value)
    if isinstance(value, str):
        return value
    raise Unreadable(f"{type(value).__name__} where text should be")


def _call(name: str, given: Any, wanted: Any) -> Call:
    try:
        arguments = [json.loads(line) for line in given.splitlines() if line] if isinstance(given, str) else given
        expected = json.loads(wanted) if isinstance(given, str) and isinstance(wanted, str) else wanted
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"an argument or a value is not JSON ({error})"[:200]) from error
    if not isinstance(arguments, list):
        raise Unreadable("the arguments of a call are not a list")
    # APPS wraps a value into a list of one; its own judge takes both.
    unwrapped = expected if not isinstance(given, str) and isinstance(expected, list) and len(expected) == 1 else []
    return Call(name, arguments, [expected, *unwrapped])


def _checked(data: dict[str, Any]) -> Asserts:
    entry = data.get("entry_point")
    if not isinstance(entry, str) or not entry.isidentifier():
        raise Unreadable("test without the entry_point that it checks")
    prompt, call = data.get("prompt") or "", f"check({entry})\n"
    test = str(data["test"])
    if isinstance(prompt, str) and prompt:
        # Helpers of the prompt are the test's own; the function under test is not.
        helpers = _without(prompt, entry)
        return replace(_asserts(f"{helpers}\n{test}\n{call}"), before=prompt)
    return _asserts(f"{test}\n{call}")


def _without(prompt: str, entry: str) -> str:
    tree = _parsed(prompt, "the prompt")
    tree.body = [node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name == entry)]
    return ast.unparse(tree)


def _asserts(source: str) -> Asserts:
    tree = _parsed(source, "text")
    nodes = list(ast.walk(tree))
    if not any(isinstance(node, ast.Assert) for node in nodes):
        raise Unreadable("no assert in the tests")
    own = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    own |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    own |= {node.name for node in nodes if isinstance(node, ast.ExceptHandler) and node.name}
    own |= {
        (alias.asname or alias.name).split(".")[0]
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    used = {node.id for node in nodes if isinstance(node, ast.Name)} - own - {"__name__"}
    names = sorted(name for name in used if not hasattr(builtins, name))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    shadowed = sorted(name for name in called & used if hasattr(builtins, name))
    return Asserts(source, names, shadowed if not names and len(shadowed) == 1 else [])


def _parsed(source: str, what: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"{what} is not Python ({error})"[:200]) from error
