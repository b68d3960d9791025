"""Classes that let other frameworks encode with unbraid and search its indexes: a file for each framework."""
