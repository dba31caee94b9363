"""For researchers, in Python: try a study on one machine, then run the same study at the hospitals."""
