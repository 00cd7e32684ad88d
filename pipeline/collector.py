"""Python's cycle collector, made to look seldom in a process that does one thing for hours."""

import gc

_NEW_OBJECTS, _YOUNG_LOOKS, _MIDDLE_LOOKS = 50_000, 20, 20


def look_seldom() -> None:
    """Leave what is there by now out of every look, and look only after many new objects.

    A call leaves no cycles behind, but hundreds in flight make and drop their objects in waves, and each wave sets the
    collector off: at thousands of calls a second it took a third of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _YOUNG_LOOKS, _MIDDLE_LOOKS)
