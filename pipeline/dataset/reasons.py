"""The reasons for which rows fall out, in words that need no recipe at hand; a reason that is not here speaks alone."""

LAYERS = {
    "in_benchmark": "the same text as a benchmark's problem",
    "benchmark_ngram": "long runs of words in common with a benchmark's problem",
    "benchmark_near": "nearly the words and all the numbers of a benchmark's problem",
    "benchmark_paraphrase": "a benchmark's problem in other words, by a model's judgement",
    "beside_benchmark": "says the same as a benchmark's problem, or as a row that matched one",
    "trace_in_benchmark": "the trace has a benchmark's problem in it, word for word",
}
"""Reasons that a benchmark causes."""

DUPLICATES = {
    "duplicate": "says the same as an earlier problem, word for word",
    "near_duplicate": "says nearly the same as another problem",
    "conflicting_answer": "says the same as another problem, with another answer",
}
"""Reasons that other problems cause."""

_PROBLEM = {
    "unreadable": "can't be read",
    "no_prompt": "has no text",
    "no_answer": "has no known answer",
    "bad_gold": "the known answer can't be compared with any",
    "answer_type": "the answer is of a kind that was not wanted",
    "multi_part": "asks several questions",
    "multiple_answers": "has several answers",
    "proof": "asks for a proof",
    "open_ended": "has no one answer",
    "image": "needs a picture",
    "broken_latex": "its LaTeX is broken",
    "given_away": "the text gives the answer away",
    "language": "is in a language that was not wanted",
    "too_hard": "the model that was asked solves it too rarely",
    "too_easy": "the model that was asked solves it too often",
    "unmeasured": "no answer of the model that was asked could be judged",
}
_TRACE = {
    "wrong": "the answer is not the known one",
    "undecided": "it could not be told whether the answer is right",
    "refused": "the engine gave no answer",
    "truncated": "the answer hit the most tokens it could have",
    "cut_off": "the text ends in the middle",
    "same_text": "the same text was kept before",
    "too_many_of_cluster": "problems that say the same have as many as are kept",
    "finish_content_filter": "the engine's filter ended the answer",
    "enough": "its problem has as many as are kept",
    "no_thought": "there is no thought",
    "not_a_thought": "the thought does not reflect, check or go back",
    "empty_reply": "there is no reply after the thought",
    "too_short": "shorter than wanted",
    "too_long": "longer than wanted",
    "not_longer": "the rewritten solution is no longer than the first",
    "leftover_tags": "tags were left in the text",
    "role_markers": "marks of a conversation were left in the text",
    "no_box": "the answer is not boxed",
    "boxes_differ": "several boxes hold different answers",
    "declined": "declines to answer",
    "leaked_answer": "says that it was told the answer",
    "language_switch": "changes its language on the way",
    "other_language": "is in a language that was not wanted",
    "loop": "ends in a loop",
    "repetition": "repeats itself too much",
    "few_agree": "too few draws for its problem agree with it",
    "no_majority": "as many draws for its problem gave one other answer",
    "no_band": "the pass rate of its problem is in none of the bands",
    "over_quota": "its group has as many as the recipe asks for",
    "not_needed": "the target was reached without it",
}
REASONS = {**_PROBLEM, **_TRACE, **DUPLICATES, **LAYERS}
"""Reason -> what it means, for problems and traces alike."""
