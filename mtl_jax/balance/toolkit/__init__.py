"""What methods are made of beside solvers, for those who add one: a module for each idea, imported by its name.

- `present`: tasks without labels in a batch.
- `rows`: task gradients, and memories of them.
- `learned`: numbers that a method learns by an optimizer.
- `preference`: a preference among the tasks, as an option.
- `main`: a main task, as an option.
- `dual_cone`: Gram matrices made safe for projections.
"""
