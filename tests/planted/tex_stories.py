"""Stories with formulas that fillers tell: what each gives, what it asks, and its answer."""

from math import comb, lcm

from planted.story import Story


def _digit_sum(number: int, base: int) -> int:
    total = 0
    while number:
        number, digit = divmod(number, base)
        total += digit
    return total


INTROS = (
    "",
    "",
    "",
    "The following came up in a problem session.",
    "This exercise needs only pencil and paper.",
    "Here is a question from an old exam.",
    "A student wrote this on the board.",
    "We use the standard notation throughout.",
    "Read the definitions with care.",
    "A warm-up for the contest:",
    "The next task is about a single number.",
    "Work with exact values only.",
    "Recall the relevant definition before you begin.",
    "A calculator would be of little help here.",
    "The teacher asks the class to think about this:",
    "This is the second part of the worksheet.",
)
TASKS = ("Find", "Compute", "Determine", "Calculate", "Work out", "Evaluate", "Give", "State", "Obtain")

TEX = (
    Story(((2, 90), (3, 90), (1, 100), (2, 30)), lambda w: w["a"] * w["d"] ** 2 - w["b"] * w["d"] + w["c"], (
        ("Let ${f}({x}) = {a}{x}^2 - {b}{x} + {c}$.",
         "The function ${f}$ is given by ${f}({x}) = {a}{x}^2 - {b}{x} + {c}$ for real ${x}$.",
         "Define a quadratic polynomial by \\[{f}({x}) = {a}{x}^2 - {b}{x} + {c}.\\]"),
        ("{task} ${f}({d})$.", "{task} the value of ${f}$ at ${x} = {d}$.",
         "{task} the value that ${f}({x})$ takes for ${x} = {d}$."))),
    Story(((2, 50), (3, 60), (5, 80), (4, 80)), lambda w: w["c"] + w["d"], (
        ("Suppose that ${a}{x} + {b}{y} = {t1}$ and ${b}{x} - {a}{y} = {t2}$.",
         "The pair $({x}, {y})$ satisfies \\[{a}{x} + {b}{y} = {t1}, \\qquad {b}{x} - {a}{y} = {t2}.\\]",
         "Real numbers ${x}$ and ${y}$ are such that \\begin{{align*}} {a}{x} + {b}{y} &= {t1}, \\\\"
         " {b}{x} - {a}{y} &= {t2}. \\end{{align*}}"),
        ("{task} ${x} + {y}$.", "{task} the sum of ${x}$ and ${y}$."))),
    Story(((2, 90), (10, 200), (7, 120)), lambda w: pow(w["a"], w["b"], w["c"]), (
        ("Consider the power ${a}^{{{b}}}$.", "An integer $N$ equals ${a}^{{{b}}}$.",
         "Raise ${a}$ to the power ${b}$.", "Let $N = {a}^{{{b}}}$."),
        ("{task} its remainder modulo ${c}$.", "{task} the remainder when it is divided by ${c}$.",
         "{task} the smallest nonnegative integer congruent to it $\\pmod{{{c}}}$."))),
    Story(((3, 120), (2, 120), (10, 160)), lambda w: w["a"] + (w["c"] - 1) * w["b"], (
        ("An arithmetic sequence starts with ${a}$ and has common difference ${b}$.",
         "Let $({x}_i)$ be arithmetic with ${x}_1 = {a}$ and ${x}_{{i+1}} - {x}_i = {b}$.",
         "A sequence is defined by ${x}_1 = {a}$ and ${x}_{{i+1}} = {x}_i + {b}$ for $i \\ge 1$."),
        ("{task} the term with index ${c}$.", "{task} term number ${c}$ of this sequence."))),
    Story(((2, 99), (2, 20), (4, 16), (2, 900)), lambda w: w["a"] * (w["b"] ** w["c"] - 1) // (w["b"] - 1) + w["d"], (
        ("The first term of a geometric progression is ${a}$ and its ratio is ${b}$.",
         "Let ${x}_1 = {a}$ and ${x}_{{i+1}} = {b} \\cdot {x}_i$.",
         "Each term of a sequence is ${b}$ times the preceding one; it begins with ${a}$."),
        ("{task} the sum of the first ${c}$ terms, increased by ${d}$.",
         "{task} ${d}$ plus the sum of the leading ${c}$ terms."))),
    Story(((1, 70), (2, 70), (50, 110), (51, 110)), lambda w: (w["a"] - w["c"]) ** 2 + (w["b"] - w["d"]) ** 2, (
        ("Points ${A} = ({a}, {b})$ and ${B} = ({c}, {d})$ lie in the coordinate plane.",
         "In the plane, the segment ${A}{B}$ joins $({a}, {b})$ to $({c}, {d})$.",
         "A line segment has endpoints ${A}({a}, {b})$ and ${B}({c}, {d})$."),
        ("{task} ${A}{B}^2$.", "{task} the square of the length ${A}{B}$.",
         "{task} the squared distance between its two ends."))),
    Story(((3, 150), (4, 150), (2, 150)), lambda w: w["a"] * w["b"], (
        ("Triangle ${A}{B}{C}$ has vertices ${A} = ({c}, {c})$, ${B} = ({t3}, {c})$ and ${C} = ({c}, {t4})$.",
         "The vertices of a triangle are $({c}, {c})$, $({t3}, {c})$, $({c}, {t4})$."),
        ("{task} twice its area.", "{task} the double of the area enclosed."))),
    Story(((3, 80), (4, 80), (2, 80), (5, 80)), lambda w: w["a"] * w["d"] - w["b"] * w["c"], (
        ("Consider the matrix \\[{A} = \\begin{{pmatrix}} {a} & {b} \\\\ {c} & {d} \\end{{pmatrix}}.\\]",
         "Let ${A} = \\begin{{pmatrix}} {a} & {b} \\\\ {c} & {d} \\end{{pmatrix}}$.",
         "A linear map of the plane has matrix $\\left("
         "\\begin{{array}}{{cc}} {a} & {b} \\\\ {c} & {d} \\end{{array}}\\right)$."),
        ("{task} $\\det {A}$, where ${A}$ is this matrix.", "{task} the determinant.",
         "{task} the signed factor by which areas change."))),
    Story(((50, 400), (30, 700)), lambda w: w["a"] ** 2 - 2 * w["b"], (
        ("Let $r$ and $s$ be the complex roots of ${x}^2 - {a}{x} + {b} = 0$.",
         "The equation ${x}^2 + {b} = {a}{x}$ has the two solutions $r$ and $s$.",
         "Two numbers $r, s$ have sum ${a}$ and product ${b}$."),
        ("{task} $r^2 + s^2$.", "{task} the sum of the squares of $r$ and $s$.", "{task} $(r + s)^2 - 2rs$."))),
    Story(((120, 900), (100, 990)), lambda w: lcm(w["a"], w["b"]), (
        ("Let ${A}$ be the set of positive multiples of ${a}$ and ${B}$ the set of positive multiples of ${b}$.",
         "Two lamps flash together now; one flashes every ${a}$ seconds, the other every ${b}$ seconds.",
         "A positive integer is divisible by ${a}$ as well as by ${b}$."),
        ("{task} the least positive number of seconds, or least common element, that both share.",
         "{task} the smallest positive value that serves both."))),
    Story(((2, 20), (3, 150), (5, 900)), lambda w: w["a"] ** 3 * w["b"] - w["c"], (
        ("Suppose $\\log_{{{a}}} \\frac{{{x} + {c}}}{{{b}}} = 3$.",
         "A real number ${x}$ satisfies $\\log_{{{a}}}({x} + {c}) - \\log_{{{a}}} {b} = 3$."),
        ("{task} ${x}$.", "{task} the only possible value of ${x}$."))),
    Story(((2, 70), (3, 70), (1, 70), (4, 70)), lambda w: (w["a"] ** 2 + w["b"] ** 2) * (w["c"] ** 2 + w["d"] ** 2), (
        ("Let $z = {a} + {b}i$ and $w = {c} - {d}i$.",
         "Complex numbers are given by $z = {a} + {b}i$, $w = {c} - {d}i$, where $i^2 = -1$."),
        ("{task} $|zw|^2$.", "{task} the square of the modulus of $zw$.", "{task} $zw \\cdot \\overline{{zw}}$."))),
    Story(((10, 400), (500, 2000), (3, 60)), lambda w: sum(range(-(-w["a"] // w["c"]) * w["c"], w["b"] + 1, w["c"])), (
        ("Take all multiples of ${c}$ from ${a}$ to ${b}$ inclusive.",
         "Let $S$ be the set of integers ${x}$ with ${a} \\le {x} \\le {b}$ and ${c} \\mid {x}$.",
         "Among the integers in $[{a}, {b}]$, consider those divisible by ${c}$."),
        ("{task} their sum.", "{task} what they add up to."))),
    Story(((4, 30), (5, 40), (2, 2000)), lambda w: comb(w["a"] + w["b"], w["a"]) % (w["c"] + 1000), (
        ("A path in the grid goes from $(0,0)$ to $({a},{b})$ by steps $(1,0)$ and $(0,1)$.",
         "Words are formed from ${a}$ letters $A$ and ${b}$ letters $B$, all of them used.",
         "From ${ab}$ people, a committee of ${a}$ is chosen, so that ${b}$ people stay out."),
        ("{task} the number of possibilities modulo ${c1000}$.",
         "{task} the remainder of the number of ways on division by ${c1000}$."))),
    Story(((2, 60), (3, 60), (100, 900)), lambda w: w["a"] ** 2 + w["b"] ** 2 + w["c"], (
        ("The equation of a circle is ${x}^2 + {y}^2 - {a2}{x} + {b2}{y} = {c}$.",
         "A circle in the $({x},{y})$-plane consists of all points with ${x}^2 - {a2}{x} + {y}^2 + {b2}{y} = {c}$."),
        ("{task} the square of its radius.", "{task} $R^2$, where $R$ is the radius."))),
    Story(((1000, 90000), (4, 9)), lambda w: _digit_sum(w["a"], w["b"]), (
        ("Write the decimal integer ${a}$ in base ${b}$.", "Let $N = {a}_{{10}}$ be expressed in base ${b}$."),
        ("{task} the sum of its base-${b}$ digits.", "{task} what the digits in that base add up to."))),
    Story(((2, 70), (3, 70), (4, 70), (1, 60)), lambda w: w["a"] * (w["c"] * w["d"] ** 2 - w["b"]) + w["b"], (
        ("Let ${f}({x}) = {a}{x} + {b}$ and ${g}({x}) = {c}{x}^2 - {b}$.",
         "Two functions satisfy ${f}({x}) = {a}{x} + {b}$ and ${g}({x}) = {c}{x}^2 - {b}$ for all real ${x}$."),
        ("{task} ${f}({g}({d}))$.", "{task} the result of applying ${g}$, then ${f}$, to ${d}$."))),
    Story(((2, 90), (3, 90), (4, 90), (2, 30)),
    lambda w: w["d"] ** 4 + w["a"] * w["d"] ** 3 - w["b"] * w["d"] + w["c"], (
        ("The polynomial ${x}^4 + {a}{x}^3 - {b}{x} + {c}$ is divided by ${x} - {d}$.",
         "Let ${f}({x}) = {x}^4 + {a}{x}^3 - {b}{x} + {c}$, and divide by ${x} - {d}$."),
        ("{task} the remainder.", "{task} the constant that is left over."))),
    Story(((2, 70), (3, 70), (4, 70), (5, 70)), lambda w: w["a"] * w["c"] + w["b"] * w["d"] - 7, (
        ("Let $\\mathbf{{u}} = ({a}, {b}, -1)$ and $\\mathbf{{v}} = ({c}, {d}, 7)$.",
         "Vectors in space are $\\mathbf{{u}} = \\langle {a}, {b}, -1 \\rangle$"
         " and $\\mathbf{{v}} = \\langle {c}, {d}, 7 \\rangle$."),
        ("{task} $\\mathbf{{u}} \\cdot \\mathbf{{v}}$.", "{task} the dot product of the two vectors."))),
    Story(((2, 300), (301, 900)), lambda w: 2 * (w["b"] - w["a"]) - 1 if w["b"] > w["a"] else 0, (
        ("An integer ${x}$ satisfies $|{x} - {a}| < {ba}$, where ${ba} = {b} - {a}$.",
         "Consider the inequality $|{x} - {a}| < {ba}$ over the integers, with ${ba} = {b} - {a}$."),
        ("{task} the number of solutions.", "{task} how many integers qualify."))),
    Story(((900, 9000), (3, 30), (4, 40)), lambda w: w["a"] // w["b"] + w["a"] // w["c"] - w["a"] // lcm(w["b"],
    w["c"]), (
        ("Look at the integers $1, 2, \\dots, {a}$.", "Let $U = \\{{1, 2, \\ldots, {a}\\}}$.",
         "All positive integers up to ${a}$ are written down."),
        ("{task} the number of those divisible by ${b}$ or by ${c}$.",
         "{task} how many are multiples of at least one of ${b}$ and ${c}$."))),
    Story(((2, 120), (3, 120), (5, 120)), lambda w: w["a"] * w["b"] * w["c"], (
        ("The edges of a box meeting in ${A}$ have lengths $\\frac{{{a}}}{{2}}$, $\\frac{{{b}}}{{3}}$ and ${c}$.",
         "A rectangular prism measures $\\frac{{{a}}}{{2}} \\times \\frac{{{b}}}{{3}} \\times {c}$."),
        ("{task} $6V$, where $V$ is the volume.", "{task} six times its volume."))),
)  # fmt: skip
