"""Written mathematics: read an answer into a form, and say whether two forms say the same.

tokens -> parser -> tree      one value; exact and numeric compute it
reading -> forms              tuples, sets, intervals, units, texts around values
compare -> outcome            the layers; symbolic adds sympy and math-verify
"""
