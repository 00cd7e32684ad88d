"""Say whether two written answers say the same: same, different, or unsure, with the rule that told.

The gold answer decides what is asked: its form (a point or an interval), its unit, its decimals. Values that need
algebra go to `values`, which the caller gives; everything else is decided here.
"""

from collections.abc import Sequence

from pipeline.maths.exact import exact
from pipeline.maths.forms import (
    LINE,
    Assign,
    Equation,
    Family,
    Form,
    Interval,
    Listing,
    Matrix,
    Ratio,
    Relation,
    Residue,
    Seq,
    SetOf,
    Text,
    Union,
    Value,
)
from pipeline.maths.numeric import proportional
from pipeline.maths.outcome import Outcome, Values, all_same
from pipeline.maths.parts import cells, is_sum, members, names_several, other_names, ratio_of, zero_form
from pipeline.maths.regions import regions
from pipeline.maths.tree import Op, variables
from pipeline.maths.values import ValueComparison
from pipeline.maths.vectors import in_unit_vectors


def compare(gold: Form, found: Form, *, values: Values) -> Outcome:
    """Whether `found` says what `gold` says. Raises Unreadable where an operation is not understood."""
    return _Comparison(values).of(gold, found)


class _Comparison:
    def __init__(self, values: Values) -> None:
        self._values = values
        self._value = ValueComparison(values)

    def of(self, gold: Form, found: Form) -> Outcome:
        if isinstance(gold, Family) or isinstance(found, Family):
            return self._family(gold, found)
        if isinstance(gold, Residue) or isinstance(found, Residue):
            return self._residue(gold, found)
        if isinstance(gold, Listing | SetOf):
            return self._collection(gold, found)
        if isinstance(found, Listing):
            return self._from_listing(gold, found)
        if isinstance(gold, Assign) or isinstance(found, Assign):
            return self._assigned(gold, found)
        if isinstance(gold, Equation) or isinstance(found, Equation):
            return self._equation(gold, found)
        if isinstance(gold, Interval | Union) or isinstance(found, Interval | Union):
            return self._region(gold, found)
        if isinstance(gold, Seq):
            return self._sequence(gold, found)
        if isinstance(gold, Matrix):
            return self._matrix(gold, found)
        if isinstance(gold, Ratio) or isinstance(found, Ratio):
            return self._ratio(gold, found)
        if isinstance(gold, Relation):
            return self._relation(gold, found)
        if isinstance(gold, Value) and isinstance(found, Value):
            return self._value.of(gold, found)
        if isinstance(gold, Text) and isinstance(found, Value) and found.text.strip("$ ").isalpha():
            # A short word without \\text around it is read as a product of letters.
            found = Text(found.text.strip("$ ").lower())
        return _unlike(gold, found)

    def _family(self, gold: Form, found: Form) -> Outcome:
        """Families that are written alike are the same; others may be, in other steps."""
        if not isinstance(gold, Family) or not isinstance(found, Family):
            return Outcome("unsure", "a parameter is named on one side only")
        outcome = self.of(gold.form, found.form)
        return outcome if outcome.says == "same" else Outcome("unsure", "a family that is written differently")

    def _residue(self, gold: Form, found: Form) -> Outcome:
        if not isinstance(gold, Residue) or not isinstance(found, Residue):
            return Outcome("unsure", "a modulus is named on one side only")
        values = [exact(tree) for tree in (gold.value, found.value, gold.modulus, found.modulus)]
        one, other, modulus, other_modulus = values
        if one is None or other is None or modulus is None or other_modulus is None or modulus == 0:
            return Outcome("unsure", "a congruence that is no number")
        same = modulus == other_modulus and (one - other) % modulus == 0
        return Outcome("same" if same else "different", "congruence")

    def _collection(self, gold: Listing | SetOf, found: Form) -> Outcome:
        if isinstance(found, Assign):
            found = found.form
        if isinstance(gold, Listing) and isinstance(found, Listing):
            named = self._named(gold.items, found.items)
            if named is not None:
                return named
        if isinstance(found, Seq) and any(isinstance(item, Seq) for item in members(gold)):
            found = Listing((found,))
        if isinstance(found, Seq):
            ordered = self._each(members(gold), found.items)
            return ordered if ordered.says != "different" else Outcome("unsure", "an ordered answer to a set")
        if isinstance(found, Listing | SetOf) and names_several(gold):
            # Where gold gives values to names, values without names must come in that order.
            ordered = self._each(members(gold), members(found))
            return ordered if ordered.says != "different" else Outcome("unsure", "values without their names")
        if isinstance(found, Listing | SetOf):
            return self._unordered(members(gold), members(found), sets=isinstance(gold, SetOf))
        if isinstance(gold, SetOf) and isinstance(found, Interval | Union):
            return self._region(gold, found)
        if len(gold.items) == 1 and not isinstance(gold.items[0], SetOf):
            return self.of(gold.items[0], found)
        if isinstance(found, Text):
            return Outcome("different", "a text where several answers are asked")
        return Outcome("different", "one answer where several are asked")

    def _from_listing(self, gold: Form, found: Listing) -> Outcome:
        """Several answers where gold is one thing: only a point may be written without its brackets."""
        if isinstance(gold, Seq):
            if (gold.opener, gold.closer) not in (("(", ")"), (r"\langle", r"\rangle")):
                return Outcome("different", "no brackets where they matter")
            items = found.items
            if all(isinstance(item, Assign) for item in items):
                ordered = sorted(items, key=lambda item: item.name if isinstance(item, Assign) else "")
                items = tuple(item.form for item in ordered if isinstance(item, Assign))
            return self._each(gold.items, items)
        if isinstance(gold, Union):
            return self._region(gold, Union(tuple(item for item in found.items if item != LINE)))
        if isinstance(gold, Assign):
            return self.of(gold.form, found)
        if isinstance(gold, Interval):
            return Outcome("unsure", "several regions where one is asked")
        # Several answers of which all are the one: x = 5, that is 10/2.
        outcomes = [self.of(gold, item) for item in found.items]
        if any(outcome.says == "different" for outcome in outcomes):
            return Outcome("different", "several answers where one is asked")
        return all_same(outcomes)

    def _named(self, gold: Sequence[Form], found: Sequence[Form]) -> Outcome | None:
        """x = 1, y = 2 in any order, where both name what they give."""
        ours = {item.name: item.form for item in gold if isinstance(item, Assign)}
        theirs = {item.name: item.form for item in found if isinstance(item, Assign)}
        if len(ours) != len(gold) or len(theirs) != len(found):
            return None
        if ours.keys() != theirs.keys():
            return Outcome("unsure", "other names are given values")
        return all_same([self.of(form, theirs[name]) for name, form in ours.items()])

    def _assigned(self, gold: Form, found: Form) -> Outcome:
        if isinstance(gold, Assign) and isinstance(found, Assign):
            outcome = self.of(gold.form, found.form)
            if outcome.says == "same" and other_names(gold.name, found.name):
                return Outcome("unsure", f"{found.name} is given the value where {gold.name} is asked")
            return outcome
        if isinstance(gold, Assign):
            if isinstance(found, Equation):
                return self._equation(gold, found)
            return self.of(gold.form, found)
        assert isinstance(found, Assign)
        if isinstance(gold, Equation):
            return self._equation(gold, found)
        return self.of(gold, found.form)

    def _equation(self, gold: Form, found: Form) -> Outcome:
        if isinstance(gold, Value) and isinstance(found, Equation) and not variables(gold.tree) and is_sum(found.left):
            # m + n = 149 where 149 is asked.
            return self._value.of(gold, Value(found.right))
        if isinstance(found, Value) and isinstance(gold, Equation) and not variables(found.tree) and is_sum(gold.left):
            return self._value.of(Value(gold.right), found)
        one, other = zero_form(gold), zero_form(found)
        if one is None or other is None:
            value = gold if isinstance(gold, Value) else found
            if isinstance(value, Value) and not variables(value.tree):
                return Outcome("unsure", "an equation to solve against a value")
            return Outcome("different", "an equation against none")
        same = proportional(one, other)
        if same is None:
            return Outcome("unsure", "the equations can't be computed")
        return Outcome("same" if same else "different", "equation")

    def _region(self, gold: Form, found: Form) -> Outcome:
        ours, theirs = regions(gold), regions(found)
        if ours is None or theirs is None:
            if isinstance(gold, Seq) and isinstance(found, Interval):
                return Outcome("unsure", "an interval against a tuple")
            return Outcome("different", "a region against none")
        return self._unordered(ours, theirs, sets=True)

    def _sequence(self, gold: Seq, found: Form) -> Outcome:
        if isinstance(found, Matrix) and (len(found.rows) == 1 or all(len(row) == 1 for row in found.rows)):
            return self._each(gold.items, tuple(item for row in found.rows for item in row))
        if isinstance(found, SetOf):
            return Outcome("unsure", "a set stands against a tuple or an interval")
        if isinstance(found, Value) and (parts := in_unit_vectors(found.tree, len(gold.items))) is not None:
            return self._each(gold.items, parts)
        if not isinstance(found, Seq):
            return _unlike(gold, found)
        angle = r"\langle" in (gold.opener, found.opener)
        brackets = "".join((gold.opener, gold.closer)), "".join((found.opener, found.closer))
        if len(gold.items) == 2 and not angle and brackets[0] != brackets[1]:
            return Outcome("different", "other brackets")
        return self._each(gold.items, found.items)

    def _matrix(self, gold: Matrix, found: Form) -> Outcome:
        if isinstance(found, Matrix):
            if [len(row) for row in gold.rows] != [len(row) for row in found.rows]:
                return Outcome("different", "another shape")
            return self._each(cells(gold), cells(found))
        if isinstance(found, Value) and (parts := in_unit_vectors(found.tree, len(gold.rows))) is not None:
            return self._each(cells(gold), parts)
        if isinstance(found, Seq) and all(len(row) == 1 for row in gold.rows):
            return self._each(cells(gold), found.items)
        if isinstance(found, Seq) and all(isinstance(item, Seq) for item in found.items):
            rows = Matrix(tuple(item.items for item in found.items if isinstance(item, Seq)))
            return self._matrix(gold, rows)
        return _unlike(gold, found)

    def _ratio(self, gold: Form, found: Form) -> Outcome:
        if isinstance(gold, Ratio) and isinstance(found, Ratio):
            outcome = self._each(gold.items, found.items)
            if outcome.says == "different" and ratio_of(gold) is not None and ratio_of(gold) == ratio_of(found):
                return Outcome("unsure", "the same ratio in other numbers")
            return outcome
        ratio, other = (gold, found) if isinstance(gold, Ratio) else (found, gold)
        if isinstance(ratio, Ratio) and len(ratio.items) == 2 and isinstance(other, Value):
            left, right = ratio.items
            if isinstance(left, Value) and isinstance(right, Value):
                quotient = Value(Op("div", (left.tree, right.tree)))
                return self._value.of(quotient, other) if ratio is gold else self._value.of(other, quotient)
        return _unlike(gold, found)

    def _relation(self, gold: Relation, found: Form) -> Outcome:
        if not isinstance(found, Relation):
            return Outcome("different", "no relation where one is asked")
        turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}
        if found.sign == gold.sign:
            return all_same([self._values(gold.left, found.left), self._values(gold.right, found.right)], doubt=True)
        if found.sign == turned[gold.sign]:
            return all_same([self._values(gold.left, found.right), self._values(gold.right, found.left)], doubt=True)
        return Outcome("unsure", "relations that are turned differently")

    def _each(self, gold: Sequence[Form], found: Sequence[Form]) -> Outcome:
        if len(gold) != len(found):
            return Outcome("different", f"{len(found)} parts where {len(gold)} are asked")
        return all_same([self.of(one, other) for one, other in zip(gold, found, strict=True)])

    def _unordered(self, gold: Sequence[Form], found: Sequence[Form], *, sets: bool) -> Outcome:
        """Whether each has a partner of its own; a set says nothing twice."""
        if sets:
            gold, found = self._without_repeats(gold), self._without_repeats(found)
        if len(gold) != len(found):
            return Outcome("different", f"{len(found)} answers where {len(gold)} are asked")
        left, doubt = list(found), False
        for one in gold:
            outcomes = [self._member(one, other) for other in left]
            partner = next((place for place, outcome in enumerate(outcomes) if outcome.says == "same"), None)
            if partner is not None:
                del left[partner]
            elif any(outcome.says == "unsure" for outcome in outcomes):
                doubt = True
            else:
                return Outcome("different", "an answer of the set is missing")
        return Outcome("unsure", "an answer of the set is doubtful") if doubt else Outcome("same", "each of the set")

    def _member(self, one: Form, other: Form) -> Outcome:
        """Members of sets: a set inside a set is no member of it."""
        if isinstance(one, SetOf) != isinstance(other, SetOf):
            return Outcome("different", "a set against a member")
        return self.of(one, other)

    def _without_repeats(self, items: Sequence[Form]) -> list[Form]:
        kept: list[Form] = []
        for item in items:
            if not any(item == other or self.of(other, item).says == "same" for other in kept):
                kept.append(item)
        return kept


def _unlike(gold: Form, found: Form) -> Outcome:
    if isinstance(gold, Text) and isinstance(found, Text):
        if gold.words == found.words:
            return Outcome("same", "text")
        some = set(gold.words.split()) <= set(found.words.split())
        return Outcome("unsure" if some else "different", "text")
    names = type(found).__name__.lower(), type(gold).__name__.lower()
    return Outcome("different", f"a {names[0]} where a {names[1]} is asked")
