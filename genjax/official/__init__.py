"""Weights of official PyTorch networks: their names, and where each tensor lies in ours."""
