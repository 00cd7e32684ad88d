"""What every job shares: how it ends, and what it says of an error."""

from jobs.job import reason

RAYS = """\x1b[36mray::MapBatches(_one)()\x1b[39m (pid=3833, ip=192.0.2.2)
  File "/here/each.py", line 30, in _one
    return {"given": [do(batch["item"][0])]}
ValueError: the number 1 is too small

The above exception was the direct cause of the following exception:

\x1b[36mray::MapBatches(_one)()\x1b[39m (pid=3833, ip=192.0.2.2)
ray.exceptions.UserCodeException: UDF failed to process a data block.
To change retry attempts, backoff, or which errors are retried, configure `ray.data.DataContext.get_current()`.
"""


def test_of_an_error_in_a_task_its_cause_is_told_and_no_advice_of_rays() -> None:
    assert reason(RuntimeError(RAYS)) == "ValueError: the number 1 is too small"


def test_an_error_of_one_line_or_of_none_is_told_too() -> None:
    assert reason(OSError("no such host")) == "no such host"
    assert reason(OSError()) == "OSError"
