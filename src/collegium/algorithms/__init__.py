"""The mathematics: pure functions on arrays and sums. NumPy only; no clock, no disk, no network, no privacy."""
