"""Serve a recipe's stand-in teacher by hand, for trying a client or several commands against one server."""

import argparse
import sys
import threading

from cluster.standin import standin
from jobs.recipe_file import load
from pipeline.errors import BadRecipe, Stop


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m jobs.teacher", description=__doc__)
    parser.add_argument("recipe", help="a recipe with teacher.standin")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of the recipe")
    parser.add_argument("--teacher", default="teacher", help="teacher, or a name of evaluate.teachers")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="the port to listen on; 0 takes a free one")
    arguments = parser.parse_intermixed_args()
    try:
        recipe = load(arguments.recipe, arguments.overrides)
        teacher = recipe.teachers.get(arguments.teacher)
        if teacher is None or teacher.standin is None:
            raise BadRecipe(f"{arguments.recipe} has no standin of {arguments.teacher!r} to serve")
        with standin(teacher.standin, host=arguments.host, port=arguments.port) as url:
            print(url, flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    except Stop as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, BadRecipe) else 1)


if __name__ == "__main__":
    main()
