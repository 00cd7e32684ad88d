"""What runs a function's tests inside the sandbox, which is given its text as a program: only the standard library.

Standard input holds one JSON object. With "call", one function is called and its value written as JSON to descriptor 3:
whoever asked knows the right value, this process does not. With "tests", asserts are run in two processes:

the program   a child that was split off before the tests were read; it runs the program and answers calls, no more
the tests     the parent, which no process of its user can look into; it runs the asserts on values that come back as
              plain JSON data, and alone can write to descriptor 3

So a program can't end early with success, change what `==`, `assert` or a builtin does for the tests, or read them.
"""

from __future__ import annotations

import builtins
import ctypes
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    # The import itself would take milliseconds of every run.
    from typing import Any, BinaryIO

RESULT = 3
NOT_DUMPABLE = 4
MOST_ITEMS = 1_000_000


class Opaque(BaseException):
    """A test needs a value that can't be carried over from the program; never caught by a test's own except."""


class Ended(BaseException):
    """The program's process is gone."""


class Failed(Exception):
    """The program raised an exception that the tests' process has no class for."""

    name = ""


def main() -> None:
    """One call, or one set of asserts."""
    if ctypes.CDLL(None).prctl(NOT_DUMPABLE, 0, 0, 0, 0) != 0:
        os._exit(1)
    (to_read, to_ask), (to_hear, to_answer) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(to_ask)
        os.close(to_hear)
        be_the_program(os.fdopen(to_read, "rb"), os.fdopen(to_answer, "wb"))
    os.close(to_read)
    os.close(to_answer)
    asked = json.loads(sys.stdin.buffer.read())
    program = Program(os.fdopen(to_ask, "wb"), os.fdopen(to_hear, "rb"), child)
    told = call_once(program, asked) if "call" in asked else run_tests(program, asked)
    with os.fdopen(RESULT, "wb") as result:
        result.write(json.dumps(told).encode())
    os._exit(0)


def call_once(program: Program, asked: dict[str, Any]) -> dict[str, Any]:
    """{"value"} of one call, or {"why"}."""
    try:
        program.ask({"load": [asked["before"], asked["program"]]})
        arguments = [pack(argument, {}) for argument in asked["arguments"]]
        return {"value": program.ask({"method": asked["call"], "arguments": arguments})["value"]}
    except (Ended, Exception) as error:  # noqa: BLE001 whatever a program or a test raises is the result
        return {"why": told_of(error)}


def run_tests(program: Program, asked: dict[str, Any]) -> dict[str, Any]:
    """{"passed": how many}, {"test", "why"} of the first that failed, or {"undecided"}."""
    ran: list[int] = []
    names: dict[str, Any] = {"__name__": "tests", "__ran__": lambda number: note(number, ran)}
    names.update({name: Proxy(program, [name]) for name in asked["names"]})
    try:
        program.ask({"load": [asked["before"], asked["program"]]})
        exec(compile(asked["tests"], "tests.py", "exec"), names)
    except Opaque as error:
        return {"undecided": f"test {max(ran, default=1)}: {error}"}
    except AssertionError as error:
        why = told_of(error) if error is program.raised_last else "wrong output"
        return {"test": ran[-1] if ran else 1, "why": why}
    except (Ended, Exception) as error:  # noqa: BLE001 whatever a program or a test raises is the result
        return {"test": ran[-1] if ran else 1, "why": told_of(error)}
    return {"passed": len(set(ran))}


def note(number: int, ran: list[int]) -> None:
    """Tell outside which test comes next: a limit may stop it for good."""
    if not ran or ran[-1] != number:
        os.write(RESULT, b"%d\n" % number)
    ran.append(number)


def told_of(error: BaseException) -> str:
    if isinstance(error, Ended):
        return str(error)
    name = error.name if isinstance(error, Failed) else type(error).__name__
    return f"exit 1: {name}: {error}"[:300]


class Program:
    """The other process, as the tests see it."""

    def __init__(self, to_ask: BinaryIO, to_hear: BinaryIO, child: int) -> None:
        self.to_ask, self.to_hear, self.child = to_ask, to_hear, child
        self.raised_last: Exception | None = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request; raises what the program raised."""
        try:
            send(self.to_ask, request)
            line = self.to_hear.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            code = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
            raise Ended(f"exit {code}: the program ended")
        answer: dict[str, Any] = json.loads(line)
        if "raised" in answer:
            raise self.raised(*(str(part) for part in answer["raised"]))
        return answer

    def raised(self, name: str, message: str) -> Exception:
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, UnicodeError):
            error: Exception = kind(message)
        else:
            error = Failed(message)
            error.name = name
        self.raised_last = error
        return error


class Proxy:
    """Something that lives in the program: can be called, and looked into, but not compared or counted."""

    _program: Program
    _path: list[Any]

    def __init__(self, program: Program | None, path: list[Any]) -> None:
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_path", path)

    def __getattr__(self, name: str) -> Proxy:
        return Proxy(self._program, [*self._path, name])

    def __setattr__(self, name: str, value: Any) -> None:
        self._program.ask({"set": [*self._path, name], "value": carried(value)})

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        request = {
            "path": self._path,
            "arguments": [carried(argument) for argument in arguments],
            "named": {name: carried(value) for name, value in named.items()},
        }
        answer = self._program.ask(request)
        for number, changed in answer.get("changed", []):
            overwrite(arguments[number], unpacked(changed, self._program))
        return unpacked(answer["value"], self._program)


def _unable(self: Proxy, *_: object) -> None:
    raise Opaque("a value that the test needs lives in the program and can't be carried out of it")


_NEEDS_THE_VALUE = ("eq", "ne", "lt", "le", "gt", "ge", "bool", "len", "iter", "next", "getitem", "contains", "hash")
for _name in (*_NEEDS_THE_VALUE, "add", "sub", "mul", "int", "float", "index", "enter"):
    setattr(Proxy, f"__{_name}__", _unable)


def overwrite(old: Any, new: Any) -> None:
    """What the program did to a list, dict or set that it was given."""
    if type(old) is not type(new):
        return
    if isinstance(old, list):
        old[:] = new
    else:
        old.clear()
        old.update(new)


def carried(value: Any) -> Any:
    if isinstance(value, Proxy):
        return {"path": value._path}
    packed = pack(value, {})
    if holds_ref(packed):
        raise Opaque(f"a test hands over a {type(value).__name__} that can't be carried into the program")
    return packed


def holds_ref(packed: Any) -> bool:
    if isinstance(packed, list):
        return any(holds_ref(item) for item in packed)
    return isinstance(packed, dict) and ("ref" in packed or any(holds_ref(item) for item in packed.values()))


def pack(value: Any, kept: dict[int, Any]) -> Any:
    """A value as JSON data. What has no such form stays behind in `kept`, and travels as its number."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        value = int(value)
        return value if abs(value) < 1 << 53 else {"int": hex(value)}
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes | bytearray):
        return {type(value).__name__: value.hex()}
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            items = [pack(item, kept) for item in value]
            return items if kind is list else {kind.__name__: items}
    if isinstance(value, dict):
        return {"dict": [[pack(key, kept), pack(item, kept)] for key, item in value.items()]}
    if isinstance(value, Proxy):
        return {"path": value._path}
    if hasattr(value, "__next__") or isinstance(value, range | type({}.keys()) | type({}.values()) | type({}.items())):
        items = []
        for item in value:
            items.append(pack(item, kept))
            if len(items) > MOST_ITEMS:
                raise ValueError("an iterator gives more than a million values")
        return {"iterator" if hasattr(value, "__next__") else "list_of": items}
    kept[len(kept)] = value
    return {"ref": len(kept) - 1}


BUILD: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset, "iterator": iter, "list_of": list}


def unpacked(data: Any, program: Program | None) -> Any:
    """The value that JSON data stands for; a Proxy for what stayed behind."""
    if isinstance(data, list):
        return [unpacked(item, program) for item in data]
    if not isinstance(data, dict):
        return data
    (kind, content), *_ = data.items()
    if kind == "int":
        return int(content, 16)
    if kind == "complex":
        return complex(*content)
    if kind in ("bytes", "bytearray"):
        return getattr(builtins, kind).fromhex(content)
    if kind == "dict":
        return {unpacked(key, program): unpacked(item, program) for key, item in content}
    if kind == "ref":
        return Proxy(program, [content])
    return BUILD[kind](unpacked(item, program) for item in content)


def be_the_program(requests: BinaryIO, answers: BinaryIO) -> None:
    """Run the program, then answer calls until nobody asks."""
    os.close(RESULT)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    names: dict[str, Any] = {"__name__": "program"}
    kept: dict[int, Any] = {}
    for line in requests:
        try:
            send(answers, answered(json.loads(line), names, kept))
        except BaseException as error:  # noqa: BLE001 whatever the program raises is its answer
            send(answers, {"raised": [type(error).__name__, message_of(error)]})
    os._exit(0)


def message_of(error: BaseException) -> str:
    try:
        return str(error)[:300]
    except BaseException:  # noqa: BLE001 an exception of the program's own may fail even here
        return ""


def answered(request: dict[str, Any], names: dict[str, Any], kept: dict[int, Any]) -> dict[str, Any]:
    if "load" in request:
        for text in request["load"]:
            exec(compile(text, "program.py", "exec"), names)
        return {}
    if "method" in request:
        function = names.get(request["method"])
        if function is None and "Solution" in names:
            function = getattr(names["Solution"](), request["method"])
        if function is None:
            raise NameError(f"name {request['method']!r} is not defined")
        return {"value": listed(function(*(restored(argument, names, kept) for argument in request["arguments"])))}
    if "set" in request:
        setattr(found(request["set"][:-1], names, kept), request["set"][-1], restored(request["value"], names, kept))
        return {}
    arguments = [restored(argument, names, kept) for argument in request["arguments"]]
    named = {name: restored(value, names, kept) for name, value in request["named"].items()}
    value = pack(found(request["path"], names, kept)(*arguments, **named), kept)
    changed = [
        [number, packed]
        for number, argument in enumerate(arguments)
        if isinstance(argument, list | dict | set) and (packed := pack(argument, kept)) != request["arguments"][number]
    ]
    return {"value": value, "changed": changed}


def listed(value: Any) -> Any:
    """A value as JSON has it: tuples are lists, keys are strings. Raises TypeError for what it has no word for."""
    if isinstance(value, tuple | list):
        return [listed(item) for item in value]
    if isinstance(value, dict):
        return {key if isinstance(key, str) else json.dumps(key): listed(item) for key, item in value.items()}
    return value


def found(path: list[Any], names: dict[str, Any], kept: dict[int, Any]) -> Any:
    first, *rest = path
    if isinstance(first, int):
        value = kept[first]
    elif first in names:
        value = names[first]
    else:
        raise NameError(f"name {first!r} is not defined")
    for name in rest:
        value = getattr(value, name)
    return value


def restored(data: Any, names: dict[str, Any], kept: dict[int, Any]) -> Any:
    if isinstance(data, dict) and "path" in data:
        return found(data["path"], names, kept)
    if isinstance(data, list):
        return [restored(item, names, kept) for item in data]
    if not isinstance(data, dict):
        return data
    (kind, content), *_ = data.items()
    if kind == "dict":
        return {restored(key, names, kept): restored(item, names, kept) for key, item in content}
    if kind in BUILD:
        return BUILD[kind](restored(item, names, kept) for item in content)
    return unpacked(data, None)


def send(file: BinaryIO, data: Any) -> None:
    file.write(json.dumps(data).encode() + b"\n")
    file.flush()


if __name__ == "__main__":
    main()
