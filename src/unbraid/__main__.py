"""`python -m unbraid` is the `unbraid` command."""

from unbraid.cli import main

main()
