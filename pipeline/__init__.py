"""What happens to a row: plain Python, pyarrow and sympy; never ray, torch, vllm or deepspeed."""
