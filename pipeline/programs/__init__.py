"""Code problems: the program in a reply, its tests, and the sandbox that both run in."""
