"""Studies ready to run: one readable file a question, from the data it needs to the model it leaves."""
