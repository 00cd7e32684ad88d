"""Training on Ray Train with DeepSpeed ZeRO-3: what each rank does, how it survives, and what comes out."""
