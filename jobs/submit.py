"""Send a recipe to a Ray cluster as a job: this code, the recipe and the local files that it names; nothing else.

    python -m jobs.submit jobs/recipes/gsm8k.yaml storage=s3://bucket/runs --address http://HEAD:8265 --wait

The job is `jobs.run` (or another verb: --job distill). With --wait its log is printed and its exit status is this
command's; Ctrl-C ends the watching, not the job. The same command again goes on where the run is, and follows a job
that is still at work on it. Keys that the recipe names (api_key_env) are passed on where they are set here.
"""

import argparse
import shlex
import tempfile
import tomllib
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import xxhash

from cluster.session import variable
from cluster.submission import Entry, Jobs
from jobs.job import commit, one_line, resolved, show
from jobs.parcel import RECIPE, ROOT, packed
from jobs.recipe import Recipe
from jobs.recipe_file import checked, overridden
from jobs.steps import store_of
from pipeline.errors import BadRecipe

_VERBS = ("run", "curate", "distill", "choose", "train", "evaluate", "report")


def main() -> None:
    """Submit a recipe from the command line; exits as its job does with --wait, else 0 once the cluster has it."""
    asked = _arguments()
    with one_line():
        status = submit(asked)
    raise SystemExit(status)


def submit(asked: argparse.Namespace) -> int:
    """Submit, or follow what is submitted already; the exit status."""
    values = overridden(asked.recipe, asked.overrides)
    recipe = checked(asked.recipe, values)
    _check_storage(recipe)
    environment = dict(_environment(recipe, asked.env))
    if asked.dry_run:
        with tempfile.TemporaryDirectory() as folder:
            files = packed(values, Path(folder), commit=commit())
        show("submit would", [("job", f"jobs.{asked.job}"), *_told(files, environment)])
        return 0
    jobs = Jobs(asked.address)
    root = store_of(recipe).root
    job = jobs.working_on(root)
    if job is not None:
        print(f"{job} works on {root} already: this command started nothing", flush=True)
    else:
        job = f"{recipe.name}-{asked.job}-{uuid.uuid4().hex[:8]}"
        with tempfile.TemporaryDirectory() as folder:
            files = packed(values, Path(folder), commit=commit())
            jobs.start(_entry(asked, recipe, job, folder, environment))
        show("submitted", [("job", job), ("run", root), *_told(files, environment)])
    return _followed(jobs, job) if asked.wait else _left(jobs, job, root)


def _followed(jobs: Jobs, job: str) -> int:
    try:
        return jobs.follow(job)
    except KeyboardInterrupt:
        print(f"\n{job} goes on; to end it: ray job stop --address {jobs.address} {job}", flush=True)
        return 130


def _left(jobs: Jobs, job: str, root: str) -> int:
    print(f"follow it: ray job logs --address {jobs.address} --follow {job}")
    print(f"or from anywhere that reaches the run: python -m jobs.status {root}", flush=True)
    return 0


def _entry(asked: argparse.Namespace, recipe: Recipe, job: str, folder: str, environment: Mapping[str, str]) -> Entry:
    runtime_env: dict[str, Any] = {"working_dir": folder}
    if environment:
        runtime_env["env_vars"] = dict(environment)
    if asked.install:
        runtime_env["uv"] = list(pins(asked.install))
    return Entry(
        command=shlex.join(["python", "cluster/there.py", asked.job, RECIPE]),
        id=job,
        runtime_env=runtime_env,
        metadata={
            "run": recipe.name,
            "root": store_of(recipe).root,
            "verb": asked.job,
            "recipe": xxhash.xxh3_64_hexdigest(resolved(recipe)),
            "commit": commit(),
        },
        cpus=asked.driver_cpus,
        memory_gib=asked.driver_memory_gib,
        labels=dict(asked.driver_label),
    )


def pins(extra: str) -> Iterator[str]:
    """The packages that a bare Ray lacks, at the versions of constraints.txt; `extra` is core, cpu or gpu."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + (project["optional-dependencies"][extra] if extra != "core" else [])
    exact = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, equals, _ = line.partition("==")
        if equals:
            exact[_plain(name)] = line
    for line in wanted:
        name = _plain(line.partition(">")[0].partition("=")[0].partition("[")[0])
        # The cluster's own Ray stays.
        if name != "ray":
            yield exact.get(name, line)


def _plain(name: str) -> str:
    """A package's name as all of its spellings come to."""
    return name.lower().replace("_", "-")


def _environment(recipe: Recipe, names: list[str]) -> Iterator[tuple[str, str]]:
    """The variables that travel: those asked for by --env, and the keys that the recipe names if they are set here."""
    for name in names:
        value = variable(name)
        if value is None:
            raise BadRecipe(f"--env {name}: this variable is not set here")
        yield name, value
    asked = [teacher for teacher in recipe.teachers.values() if teacher.standin is None]
    keys = {end.api_key_env for teacher in asked for end in teacher.at()} - set(names)
    for name in sorted(filter(None, keys)):
        if value := variable(name):
            yield name, value


def _check_storage(recipe: Recipe) -> None:
    if "://" not in recipe.storage and not Path(recipe.storage).is_absolute():
        raise BadRecipe(
            f"storage={recipe.storage!r} is this machine's: give a folder that every node of the cluster has mounted "
            "(storage=/shared/runs) or a URI (storage=s3://bucket/runs)"
        )


def _told(files: list[str], environment: Mapping[str, str]) -> list[tuple[str, str]]:
    lines = [("takes along", ", ".join(["the code", "the recipe", *files]))]
    if environment:
        lines.append(("passes on", ", ".join(environment)))
    return lines


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.submit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("recipe", help="a YAML file, such as jobs/recipes/demo.yaml")
    add("overrides", nargs="*", metavar="key=value", help="overrides of the recipe")
    add("--address", help="the cluster's dashboard, http://HEAD:8265; without it RAY_API_SERVER_ADDRESS")
    add("--job", choices=_VERBS, default="run", help="which job (run does every step)")
    add("--wait", action="store_true", help="print the job's log and exit with its status")
    passed_on = "pass this variable on, such as AWS_SECRET_ACCESS_KEY; who has the cluster's token can read it there"
    add("--env", action="append", default=[], metavar="NAME", help=passed_on)
    add("--driver-cpus", type=float, default=0.0, help="logical CPUs of the job's driver; 0 (default): on the head")
    add("--driver-memory-gib", type=float, default=0.0, help="memory that the job's driver reserves, GiB")
    label = "a Ray label of the node that the driver goes to"
    add("--driver-label", action="append", default=[], type=_label, metavar="NAME=VALUE", help=label)
    install = "install by uv, at the tested versions, what a bare Ray image lacks; cpu and gpu with vLLM and torch"
    add("--install", choices=("core", "cpu", "gpu"), help=install)
    add("--dry-run", action="store_true", help="say what would be sent, and send nothing")
    return parser.parse_intermixed_args()


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no label: write name=value")
    return name, value


if __name__ == "__main__":
    main()
