"""Recipes: all that ship load, and what is wrong is one line with the key, the value and the fix."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jobs.job import resolved
from jobs.recipe_file import load
from pipeline.errors import BadRecipe

ROOT = Path(__file__).resolve().parent.parent
ARMS = ROOT / "jobs" / "recipes" / "compare.yaml"
RECIPES = sorted(set((ROOT / "jobs" / "recipes").glob("*.yaml")) - {ARMS})
SMALL = """
name: small
sources:
  - {name: sums, format: reasoning_gym, task: chain_sum, size: 10}
  - {name: files, format: jsonl, path: nowhere.jsonl}
teacher: {model: stand-in, standin: {answers: worked}}
student: {model: SmolLM2-135M-Instruct}
distill:
  generations:
    - {name: long, engine: teacher, draws: 2, sampling: {max_tokens: 800}}
train:
  window: 1024
  lr: 1.0e-4
  phases:
    - {name: distill, generations: [long]}
"""


@pytest.fixture
def small(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)


def wrong(path: str, *overrides: str) -> str:
    """The one line that a wrong recipe gets."""
    with pytest.raises(BadRecipe) as refused:
        load(path, list(overrides))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "written.yaml"
    path.write_text(text)
    return str(path)


def test_every_shipped_recipe_loads() -> None:
    for path in RECIPES:
        recipe = load(str(path))
        assert recipe.sources, path
        assert recipe.train.phases, path
    assert len(RECIPES) >= 3
    assert {"demo", "gsm8k", "paper"} <= {path.stem for path in RECIPES}


def test_a_resolved_recipe_loads_to_itself(small: str, tmp_path: Path) -> None:
    recipe = load(small)
    path = written(tmp_path, yaml.safe_dump(json.loads(recipe.model_dump_json())))
    assert load(path) == recipe


def test_overrides_reach_everything(small: str) -> None:
    overrides = ["train.lr=1e-5", "sources.0.size=5", "distill.generations.0.sampling.max_tokens=9", "seed=7"]
    overrides += [
        "train.phases.0={name: other, generations: [long]}",
        "choose.per_problem=3",
        "teacher.standin.wrong=0.5",
    ]
    recipe = load(small, [*overrides, "curate.rules=[no_prompt, image]"])
    assert (recipe.train.lr, recipe.sources[0].size, recipe.seed) == (1e-5, 5, 7)
    assert recipe.distill.generations[0].sampling.max_tokens == 9
    assert recipe.train.phases[0].name == "other"
    assert recipe.choose.per_problem == 3
    assert recipe.teacher is not None
    assert recipe.teacher.standin is not None
    assert recipe.teacher.standin.wrong == 0.5
    assert recipe.curate.rules == ("no_prompt", "image")
    # What was not named stays.
    assert recipe.distill.generations[0].draws == 2
    assert load(small).seed == 0


def test_later_overrides_win_and_a_value_may_hold_an_equals_sign(small: str) -> None:
    recipe = load(small, ["seed=1", "seed=2", "sources.1.path=s3://bucket/a=1/*.jsonl"])
    assert recipe.seed == 2
    assert recipe.sources[1].path == "s3://bucket/a=1/*.jsonl"


def test_a_recipe_may_extend_another(small: str, tmp_path: Path) -> None:
    path = written(tmp_path, "extends: small.yaml\nname: larger\ntrain: {lr: 2.0e-4}\n")
    recipe = load(path)
    assert (recipe.name, recipe.train.lr, recipe.train.window) == ("larger", 2e-4, 1024)
    assert "nowhere.yaml" in wrong(written(tmp_path, "extends: nowhere.yaml\nname: x\n"))


def test_a_recipe_that_extends_itself_is_one_line(tmp_path: Path) -> None:
    assert "written.yaml" in wrong(written(tmp_path, "extends: written.yaml\nname: x\n"))


def test_an_extends_that_is_no_name_is_one_line(tmp_path: Path) -> None:
    assert "extends" in wrong(written(tmp_path, "extends: [a, b]\nname: x\n"))


def test_an_unknown_key_suggests_the_one_that_was_meant(small: str) -> None:
    assert "unknown key train.lrr; did you mean train.lr?" in wrong(small, "train.lrr=1")
    assert "unknown key teacher.modle; did you mean teacher.model?" in wrong(small, "teacher.modle=x")
    assert "unknown key sede; did you mean seed?" in wrong(small, "sede=1")
    said = wrong(small, "distill.generations.0.sampling.max_token=1")
    assert "unknown key distill.generations.0.sampling.max_token; did you mean" in said
    assert "max_tokens?" in said


def test_an_unknown_key_in_a_list_of_kinds_suggests_from_its_own_kind(small: str) -> None:
    assert "did you mean sources.0.seed?" in wrong(small, "sources.0.sede=5")
    assert "did you mean sources.0.options?" in wrong(small, "sources.0.option={}")
    assert "did you mean sources.1.answer_regex?" in wrong(small, "sources.1.answer_regexp=x")


def test_an_unknown_key_like_no_other_lists_what_there_is(small: str) -> None:
    said = wrong(small, "choose.zzz=1")
    assert "unknown key choose.zzz" in said
    assert "per_problem" in said


def test_a_wrong_type_names_key_and_value(small: str) -> None:
    said = wrong(small, "train.lr=fast")
    assert "train.lr='fast'" in said
    assert "number" in said
    said = wrong(small, "seed=1.5")
    assert "seed=1.5" in said
    assert "integer" in said
    assert "sources.0.size='many'" in wrong(small, "sources.0.size=many")
    assert "train=" in wrong(small, "train=5")


def test_a_wrong_value_names_key_value_and_what_is_right(small: str) -> None:
    assert "choose.per_problem=0" in wrong(small, "choose.per_problem=0")
    said = wrong(small, "choose.order=random")
    assert "choose.order='random'" in said
    for right in ("draw", "shortest", "longest"):
        assert right in said
    assert "name=''" in wrong(small, "name=''")
    assert "sampling.temperature=-1" in wrong(small, "distill.generations.0.sampling.temperature=-1")


def test_a_recipe_of_rows_from_outside_alone(tmp_path: Path) -> None:
    text = "name: own\nstudent: {model: SmolLM2-135M-Instruct}\ntrain: {window: 64, lr: 1.0e-4, phases: [%s]}\n"
    own = written(tmp_path, text % "{name: only, dataset: data/rows, generations: [theirs]}")
    recipe = load(own)
    assert (recipe.makes_traces, recipe.sources, recipe.distill.generations) == (False, (), ())
    said = wrong(written(tmp_path, text % "{name: own, dataset: data/rows}, {name: more, generations: [long]}"))
    assert "train.phases.more: nothing makes its rows: add sources and distill, or give it a dataset" in said
    said = wrong(written(tmp_path, text % "{name: own, dataset: d}"), "difficulty={engine: student}")
    assert "difficulty: it is about the problems of sources, and there are none" in said


def test_a_missing_key_says_what_it_means(small: str) -> None:
    said = wrong(small, "student={}")
    assert "student.model is missing: " in said
    assert "Hugging Face" in said
    said = wrong(small, "distill.generations.0={name: a, engine: teacher}")
    assert "sampling is missing" in said


def test_a_missing_key_in_a_list_of_kinds_says_what_it_means(small: str) -> None:
    said = wrong(small, "sources.0={name: a, format: reasoning_gym, task: chain_sum}")
    assert "sources.0.size is missing: How many problems to make" in said


def test_a_source_of_no_known_format_is_told_the_formats(small: str) -> None:
    said = wrong(small, "sources.0={name: a, format: csv, path: x}")
    assert "sources.0" in said
    assert "jsonl" in said
    assert "parquet" in said
    assert "format" in wrong(small, "sources.0={name: a, path: x}")


def test_names_that_do_not_meet_are_told_with_those_there_are(small: str) -> None:
    assert "no generation 'short'; there are long" in wrong(small, "train.phases.0.generations=[short]")
    assert "no prompt 'sovle'; there are solve" in wrong(small, "distill.generations.0.prompt=sovle")
    assert "no prompt 'x'" in wrong(small, "evaluate.prompt=x")
    assert "asks the teacher: add a teacher section" in wrong(small, "teacher=null")
    assert "names the teacher" in wrong(
        small, "teacher=null", "distill.generations.0.engine=student", "evaluate.models=[teacher]"
    )
    twice = "{name: long, engine: teacher, sampling: {max_tokens: 8}}"
    assert "names must differ" in wrong(small, f"distill.generations=[{twice}, {twice}]")


def test_a_prompt_of_ones_own_is_checked_and_found(small: str) -> None:
    recipe = load(small, ["prompts.mine='Solve {prompt}'", "distill.generations.0.prompt=mine"])
    assert recipe.template("mine") == "Solve {prompt}"
    assert "prompts.mine" in wrong(small, "prompts.mine='Solve {question}'")


def test_a_bad_override_is_told_its_form(small: str) -> None:
    assert "write key=value" in wrong(small, "train.lr")
    assert "write key=value" in wrong(small, "=5")
    assert "not YAML" in wrong(small, "train.lr=[1")
    assert "no place in a list of 2" in wrong(small, "sources.5.size=1")
    assert "no place in a list of 2" in wrong(small, "sources.first.size=1")
    assert "nothing below" in wrong(small, "name.first=x")


def test_bad_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    assert "written.yaml line 3 is not YAML" in wrong(written(tmp_path, "name: x\nseed: 1\ntrain: [1, {a: 2]\n"))
    assert "is no recipe" in wrong(written(tmp_path, "- a\n- b\n"))
    assert "is no recipe" in wrong(written(tmp_path, ""))


def test_a_recipe_that_is_not_there_or_no_text_is_one_line(tmp_path: Path) -> None:
    assert "no recipe" in wrong(str(tmp_path / "nowhere.yaml"))
    assert str(tmp_path) in wrong(str(tmp_path))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01name")
    assert "binary.yaml" in wrong(str(tmp_path / "binary.yaml"))


def test_a_wrong_recipe_ends_the_job_with_2_and_one_line(small: str) -> None:
    ran = curate(small, "--dry-run", "sources.0.size=many")
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.startswith("error: ")
    assert "sources.0.size='many'" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_dry_run_prints_its_plan_and_leaves_nothing(small: str, tmp_path: Path) -> None:
    source = "{name: sums, format: reasoning_gym, task: chain_sum, size: 7}"
    ran = curate(small, "--dry-run", f"storage={tmp_path}/runs", f"sources=[{source}]")
    assert ran.returncode == 0, ran.stderr
    assert "7 rows" in ran.stdout
    assert not (tmp_path / "runs").exists()


def curate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "jobs.curate", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_a_ready_benchmark_is_written_out_or_told_what_there_is(small: str, tmp_path: Path) -> None:
    recipe = load(small, ["evaluate.benchmarks={aime: {ready: aime24, path: data/aime.jsonl}}"])
    assert recipe.evaluate.benchmarks["aime"].path == "data/aime.jsonl"
    assert load(written(tmp_path, yaml.safe_dump(json.loads(recipe.model_dump_json())))) == recipe
    key = "evaluate.benchmarks"
    assert "no ready benchmark 'aime26'; there are aime24, aime25" in wrong(small, f"{key}={{a: {{ready: aime26}}}}")
    assert "add path, the file" in wrong(small, f"{key}={{a: {{ready: math2024}}}}")
    assert "must end in .jsonl or .parquet" in wrong(small, f"{key}={{a: {{ready: aime24, path: x.csv}}}}")
    assert f"did you mean {key}.a.limit?" in wrong(small, f"{key}={{a: {{ready: aime24, limt: 3}}}}")
    assert f"{key}.a.kind='essay': must be one of math, text" in wrong(
        small, f"{key}={{a: {{ready: aime24, kind: essay}}}}"
    )


def test_further_teachers_have_names_and_prices_of_their_own(small: str) -> None:
    cheap = "evaluate.teachers.cheap={model: c, base_url: https://c.example/v1}"
    recipe = load(small, [cheap, "evaluate.models=[base, cheap, teacher]"])
    assert list(recipe.teachers) == ["teacher", "cheap"]
    assert recipe.teachers["cheap"].identity == "c @ c.example"
    said = wrong(small, cheap, "evaluate.models=[base, dear]")
    assert said.endswith("evaluate.models: nobody is called 'dear'; there are base, student, teacher, cheap")
    assert "names must differ" in wrong(small, "evaluate.models=[base, base]")
    assert "did you mean evaluate.teachers.cheap.model?" in wrong(small, cheap, "evaluate.teachers.cheap.modle=x")
    for name in ("base", "a@5", "../x"):
        teacher = f"{{'{name}': {{model: c, base_url: https://c.example/v1}}}}"
        assert f"{name!r} can't be a name" in wrong(small, f"evaluate.teachers={teacher}")
    priced = ["budget_usd=1", "teacher.prompt_usd_per_mtok=1", "teacher.completion_usd_per_mtok=1"]
    assert "set evaluate.teachers.cheap.prompt_usd_per_mtok" in wrong(small, cheap, *priced)
    assert "set teacher.prompt_usd_per_mtok" in wrong(small, cheap, priced[0])


def test_no_teacher_s_key_is_in_the_resolved_recipe(small: str) -> None:
    keyed = "{model: m, standin: {answers: worked, key: secret-key}}"
    text = resolved(load(small, [f"evaluate.teachers.x={keyed}", "teacher.standin.key=secret-key"])).decode()
    assert "secret-key" not in text
    assert "evaluate:" in text


def test_an_llm_judge_is_someone_who_can_be_asked(small: str) -> None:
    judge = "judge={engine: teacher}"
    recipe = load(small, [judge, "sources.0.kind=judge"])
    assert recipe.judge is not None
    assert recipe.judge.asks == "judge_kind"
    assert "source sums is of kind judge: add a judge section" in wrong(small, "sources.0.kind=judge")
    aime = "evaluate.benchmarks={a: {ready: aime24, kind: judge}}"
    assert "source aime24 is of kind judge" in wrong(small, aime)
    assert "no teacher is called 'me'; there are teacher" in wrong(small, "judge={engine: me}")
    assert "judge.draws=2: must be odd" in wrong(small, "judge={draws: 2}")
    assert "no judge's prompt 'solve'; there are judge" in wrong(small, "judge={prompt: solve}")
    assert "no prompt 'judge'; there are solve" in wrong(small, "distill.generations.0.prompt=judge")
    assert "judge.asks='some': must be one of judge_kind" in wrong(small, "judge={asks: some}")


def test_every_k_has_its_draws(small: str) -> None:
    assert load(small, ["evaluate.draws=8", "evaluate.k=[1, 8]"]).evaluate.k == (1, 8)
    said = wrong(small, "evaluate.draws=4", "evaluate.k=[2, 8]")
    assert said.endswith("evaluate.k: pass@8 needs 8 draws, evaluate.draws is 4")
    assert "evaluate.k: pass@0 means nothing" in wrong(small, "evaluate.k=[0]")
    assert "must all differ" in wrong(small, "evaluate.draws=4", "evaluate.k=[2, 2]")


def test_thought_budgets_lie_below_the_whole_and_a_teacher_must_be_able_to_go_on(small: str) -> None:
    assert load(small, ["evaluate.thought_budgets=[256, 1024]"]).evaluate.thought_budgets == (256, 1024)
    said = wrong(small, "evaluate.thought_budgets=[40000]")
    assert "40000 must be above 0 and below sampling.max_tokens=32768" in said
    assert "must all differ" in wrong(small, "evaluate.thought_budgets=[9, 9]")
    force = "distill.generations.0.truncated={policy: force, max_tokens: 99}"
    assert "force needs teacher.continues" in wrong(small, force)
    assert load(small, [force, "teacher.continues=prefix"]).distill.generations[0].truncated.max_tokens == 99
    assert load(small, [force, "distill.generations.0.engine=student"])


@pytest.mark.parametrize("nothing", ["{}", "null", "{name: x}"])
def test_a_source_without_a_format_is_told_the_formats(small: str, nothing: str) -> None:
    formats = "format is missing: jsonl, parquet, hf, reasoning_gym"
    assert wrong(small, f"evaluate.benchmarks.X={nothing}").endswith(
        f"evaluate.benchmarks.X: {formats}, or ready: NAME"
    )
    assert wrong(small, f"sources.0={nothing}").endswith(f"sources.0: {formats}")
