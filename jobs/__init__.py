"""What to do today: one file a verb, and the recipe that says how."""
