"""Prompts, and the split of a reply into thought and answer."""

import pytest
from rows import problem

from pipeline.errors import BadRecipe
from pipeline.prompts import PROMPTS, Split, check_template, join, render, resume, split


def test_split_takes_the_thought_out() -> None:
    assert split("<think>\nhm\n</think>\n\nIt is 5.", truncated=False) == Split(thought="hm", reply="It is 5.")


def test_split_works_when_the_template_opened_the_thought() -> None:
    assert split("hm\n</think>It is 5.", truncated=False) == Split(thought="hm", reply="It is 5.")


def test_split_cuts_at_the_last_closing_tag() -> None:
    raw = "<think>I write </think> here: </think>\\boxed{5}"
    assert split(raw, truncated=False).reply == "\\boxed{5}"


def test_an_open_thought_that_was_cut_off_has_no_reply() -> None:
    raw = "<think>maybe \\boxed{5}, or"
    assert split(raw, truncated=True) == Split(thought="maybe \\boxed{5}, or", reply="")


def test_an_open_thought_of_a_model_that_stopped_by_itself_is_its_reply() -> None:
    assert split("<think>It is \\boxed{5}", truncated=False) == Split(thought="", reply="It is \\boxed{5}")


def test_a_text_without_tags_is_all_reply() -> None:
    assert split("  It is 5. ", truncated=False) == Split(thought="", reply="It is 5.")
    assert split("", truncated=False) == Split(thought="", reply="")


def test_join_is_undone_by_split() -> None:
    pairs = [("hm", "\\boxed{5}"), ("a\n\nb", "x\ny"), ("", "just this")]
    for thought, reply in pairs:
        assert split(join(thought=thought, reply=reply), truncated=False) == Split(thought, reply)


def test_join_writes_the_tags_as_r1_models_do() -> None:
    assert join(thought="hm", reply="5") == "<think>\nhm\n</think>\n\n5"
    assert join(thought="", reply="5") == "5"


def test_every_built_in_template_renders_and_shows_the_problem_whole() -> None:
    hostile = problem("Let $f(x)=\\frac{1}{x}$, {x} and {0} and {{y}}. Find f(2).", solution="It is {half}.")
    for name, template in PROMPTS.items():
        (message,) = render(template, hostile)
        assert message["role"] == "user"
        assert hostile.prompt in message["content"], name
        check_template(name, template)
    assert len(PROMPTS) >= 4


def test_the_solving_prompts_ask_for_a_box_with_braces() -> None:
    for name in ("solve", "boxed"):
        assert "\\boxed{" in render(PROMPTS[name], problem())[0]["content"]
        assert "{{" not in render(PROMPTS[name], problem())[0]["content"]


def test_reformat_shows_the_solution() -> None:
    (message,) = render(PROMPTS["reformat"], problem(solution="One and one make two."))
    assert "One and one make two." in message["content"]


def test_a_template_with_an_unknown_column_is_refused_with_the_fix() -> None:
    for template in ("{question}", "{prompt} {}", "{prompt} \\boxed{answer}", "{prompt} {"):
        with pytest.raises(BadRecipe, match=r"prompts\.mine.*\{prompt\}"):
            check_template("mine", template)


def test_a_template_that_never_shows_the_problem_is_refused() -> None:
    for template in ("Solve it.", "Solve \\boxed{{answer}}."):
        with pytest.raises(BadRecipe, match=r"prompts\.mine"):
            check_template("mine", template)


def test_a_template_with_an_attribute_lookup_is_refused_in_one_line() -> None:
    with pytest.raises(BadRecipe, match=r"prompts\.mine"):
        check_template("mine", "{prompt.nothing}")


def test_an_answer_is_resumed_where_it_was_whether_or_not_the_template_opens_the_thought() -> None:
    for so_far in ("<think>\nOne and", "<think>\na\n</think>\n\nFinal answer:", "It is"):
        assert resume("ask: ", so_far) == "ask: " + so_far
    assert resume("ask: <think>\n", "<think>\nOne and") == "ask: <think>\nOne and"
    # It closed the thought at once.
    assert resume("ask: <think>\n", "It is") == "ask: <think>\n\n</think>\n\nIt is"
