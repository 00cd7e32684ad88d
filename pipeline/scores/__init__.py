"""What draws and their verdicts come to: pass@k, maj@k, how sure they are, and whether two models differ."""
