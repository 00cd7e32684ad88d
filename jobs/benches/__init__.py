"""One file a benchmark; each runs ours and a peer side by side and returns figures with a ratio."""
