"""Whole federations on one machine, through the same engine that runs over HTTPS."""
