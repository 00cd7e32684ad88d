"""The stand-in's worked solutions: what a prompt gets that wants no thinking aloud."""

import random

from pipeline.standin.answers import Answers
from pipeline.standin.asked import read
from pipeline.standin.settings import StandinSettings
from pipeline.standin.worked import WITHOUT_THOUGHT, work, written_out

LETTERS = 'How many times does the letter "e" appear in the text: "sleeping"?'
WORDS = "Reverse this list of words: one, two, three"


def test_a_prompt_that_wants_no_thinking_aloud_gets_a_solution_and_no_thought() -> None:
    answers = Answers(StandinSettings(wrong=0.0))
    for question, answer in ((LETTERS, "2"), (WORDS, "three, two, one")):
        asked = [{"role": "user", "content": f"{question}\n\n{WITHOUT_THOUGHT}"}]
        said = answers.say(read({"model": "m", "messages": asked, "seed": 1}))
        assert (said.reasoning, said.lead, said.seam) == ("", "", "")
        assert said.content.endswith(f"The answer is \\boxed{{{answer}}}.")
        assert len(said.content.splitlines()) == 3


def test_a_solution_to_read_has_no_slip_and_no_check() -> None:
    slips = 0
    for seed in range(200):
        for question, step in (
            (LETTERS, "Count e: s l e 1 e 2 p i n g. That is 2."),
            (WORDS, "Backward: 3 three, 2 two, "),
        ):
            worked = work(question, random.Random(seed), False)
            assert worked is not None
            slips += "Wait" in worked.thought
            lines = written_out(worked).reply.splitlines()
            assert len(lines) == 3
            assert lines[1].startswith(step)
            assert lines[0].startswith(("Spell it: s l e e p i n g.", "Number the words: 1 one, 2 two, 3 three."))
    assert slips > 10
