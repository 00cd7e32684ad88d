"""Where it happens: all that knows Ray, vLLM, DeepSpeed and torch."""
