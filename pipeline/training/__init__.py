"""What a training run will do, worked out before it does anything: its settings, its steps, its memory and its gate."""
