"""A forward pass, seen from inside: activation calls, sites, gradients at them, and a replay of them."""
