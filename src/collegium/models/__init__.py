"""Trained models in use, inside the building."""
