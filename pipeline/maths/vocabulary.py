"""The names that written mathematics has for functions, letters and numbers."""

_FUNCTION_NAMES = """
sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh ln log lg exp det gcd lcm max min sgn floor
ceil abs sqrt
"""
_GREEK_NAMES = """
alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon phi
varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega ell
"""
_COUNTING = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_HEDGES = """
tenth tenths hundredth hundredths thousandth thousandths millionth millionths billionth billionths trillionth
trillionths halves thirds fourth fourths fifth fifths quarters ten tens pair pairs score scores gross lakh crore
quadrillion grand k factorial negative minus positive below above under zero wrong incorrect false remainder mod
modulo never unknown or not no more less fewer least most than about approximately around nearly almost maybe perhaps
half third quarter th st nd rd squared cubed to and between but
"""

FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
GREEK = frozenset(_GREEK_NAMES.split())
CONSTANT_NAMES = {"pi": "pi", "infty": "oo", "infinity": "oo", "oo": "oo", "inf": "oo"}
ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "cosec": "csc", "ceiling": "ceil"}
NUMBER_WORDS = {word: number for number, word in enumerate(_COUNTING.split())}
APPLIED = frozenset({"f", "g", "F", "G", "P", "u", "phi", "varphi", "psi", "delta"})
"""Names that a bracket behind makes a function of what is in it."""
TENS = {word: 10 * number for number, word in enumerate(_TENS.split(), start=2)}
COUNTS = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
HEDGES = frozenset(_HEDGES.split())
"""Words after a number that make it another one, or none."""
