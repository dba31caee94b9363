"""`python -m collegium.cli`: the command line without its script, as the demo starts its processes."""

from collegium.cli import main

main()
