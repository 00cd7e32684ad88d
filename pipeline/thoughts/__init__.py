"""Whether one trace is fit to be trained on: its length, form, end, language, repetition, and whether it thinks."""
