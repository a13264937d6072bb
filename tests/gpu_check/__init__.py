"""What is worth doing on a GPU machine that is only borrowed, and has no network: `make gpu-check`."""
