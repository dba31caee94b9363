"""The hospital's agent: outbound only, and the answer is no until a rule says yes."""
