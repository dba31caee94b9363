"""Pages for people who do not type commands: what every console shares. Plain HTML from the server; scripts only add to it."""
