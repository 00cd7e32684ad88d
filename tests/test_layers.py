"""The layers: imports point jobs -> cluster -> pipeline only, and pipeline is light."""

import ast
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BELOW = {"pipeline": set(), "cluster": {"pipeline"}, "jobs": {"cluster", "pipeline"}}
HEAVY = {"ray", "torch", "vllm", "deepspeed"}


def test_imports_point_one_way() -> None:
    wrong, seen = [], 0
    for layer, allowed in BELOW.items():
        for path in (ROOT / layer).rglob("*.py"):
            for name in _imported(path):
                seen += 1
                top = name.split(".")[0]
                if top in BELOW and top != layer and top not in allowed:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert seen > 100
    assert wrong == []


def test_pipeline_names_no_heavy_library_even_in_a_function() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "pipeline").rglob("*.py")
        for name in _imported(path)
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_importing_all_of_pipeline_loads_nothing_heavy() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "pipeline").rglob("*.py")
        if path.name != "__init__.py"
    ]
    program = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    loaded = set(json.loads(ran.stdout))
    assert set(modules) <= loaded
    assert len(modules) > 15
    assert not {name for name in loaded if name.split(".")[0] in HEAVY}


def _imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.append(node.module or "")
    return names
