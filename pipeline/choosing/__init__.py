"""Choosing what is trained on, in three stages.

    judge: each trace alone, and beside the other draws of its problem  -> candidates (small columns)
    select: all candidates at once                                      -> who is chosen, why each other is not, pairs
    written: the chosen traces, some at a time                          -> the data set's rows (example)

What can be asked for is in pipeline/choose.py; where it runs is in cluster/choosing.py.
"""
