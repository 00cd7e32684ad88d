"""The stand-in teacher: a local server with a teacher's API, for machines with no key. It is no language model."""
