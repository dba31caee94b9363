"""The coordinator: serves tasks, adds updates, shows progress. It holds no rows and runs no model code."""
