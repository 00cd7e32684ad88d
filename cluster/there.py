"""The first program of a submitted job: says in one line what the cluster's Python lacks, else becomes the job.

    python cluster/there.py run recipe.yaml          instead of python -m jobs.run recipe.yaml

It must run on any Python 3, and imports nothing that may be missing.
"""

import os
import re
import sys

OLDEST = (3, 11)
_NAME = re.compile(r"^([A-Za-z0-9._-]+)(\[[^\]]*\])?(.*)$")


def main():
    """Become `python -m jobs.VERB ...`, or exit with 1 and one line."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    wrong = lacking(root)
    if wrong:
        sys.exit("error: " + wrong)
    verb, arguments = sys.argv[1], sys.argv[2:]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "jobs." + verb, *arguments])


def lacking(root):
    """What this Python lacks of the packages that pyproject.toml names, in one line; "" when nothing."""
    if sys.version_info < OLDEST:
        here, oldest = ".".join(map(str, sys.version_info[:2])), ".".join(map(str, OLDEST))
        return "the cluster runs Python " + here + ", and Longthought needs " + oldest + " or newer: use another image"
    import tomllib
    from importlib import metadata

    with open(os.path.join(root, "pyproject.toml"), "rb") as file:
        wanted = tomllib.load(file)["project"]["dependencies"]
    missing, other = [], []
    for line in wanted:
        name, _, bounds = _NAME.match(line).groups()
        try:
            there = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if not _within(there, bounds):
            other.append(name + " " + there + " (" + bounds + ")")
    if not missing and not other:
        return ""
    told = [text for text in (", ".join(missing), "other versions: " + ", ".join(other) if other else "") if text]
    return (
        "the cluster lacks packages of Longthought: "
        + "; ".join(told)
        + ": use the image of cluster/deploy/Dockerfile, or jobs.submit --install"
    )


def _within(there, bounds):
    least = bounds.partition(">=")[2].partition(",")[0]
    return not least or _numbers(there) >= _numbers(least)


def _numbers(version):
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


if __name__ == "__main__":
    main()
