"""The data set as others see it: its figures, its pictures, its card."""
