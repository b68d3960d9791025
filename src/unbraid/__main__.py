"""`python -m unbraid` is the `unbraid` command."""

from unbraid.cli.main import main

main()
