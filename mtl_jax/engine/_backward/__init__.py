"""The machinery of `gram` and `factored`: a traced backward pass that is run for all tasks, in stages."""
