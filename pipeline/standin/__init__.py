"""The stand-in teacher: a local server that speaks a teacher's API for machines with no key. It is no language model."""
