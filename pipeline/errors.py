"""The two errors that are meant for people: one line that says what is wrong and what would be right."""


class Stop(Exception):
    """The run can't go on; nothing already bought is lost. Jobs print the line and exit with 1."""


class BadRecipe(Stop):
    """The recipe is wrong. Jobs print the line and exit with 2."""
