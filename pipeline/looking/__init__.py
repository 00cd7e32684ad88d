"""Rows of a run as a person looks at them: what there is, what became of it, and the rows that fit a filter."""
