"""What the progress bar shows of the tasks."""

from mtl_jax.train._progress import told

MANY = {f"task{i}": float(i) for i in range(9)}


def test_of_many_tasks_mean_worst_and_best():
  shown = told(MANY | {"task4": float("nan")}, dict.fromkeys(MANY, 1.0))
  assert shown == "9 tasks, mean loss 4  worst task4 nan[dim]x1[/dim]  best task0 0[dim]x1[/dim]"


def test_a_few_tasks_in_their_order():
  few = {name: MANY[name] for name in ("task3", "task1")}
  assert told(few, dict.fromkeys(few, 0.5)) == "task3 3[dim]x0.5[/dim]  task1 1[dim]x0.5[/dim]"
