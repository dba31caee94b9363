"""What is to be computed, in words a review board can read, and the plan made from it."""
