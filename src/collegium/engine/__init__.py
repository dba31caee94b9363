"""Running a computation: tasks, rounds and sums as pure state machines. No sockets, no clock, no disk."""
