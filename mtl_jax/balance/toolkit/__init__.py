"""What methods are made of beside solvers: learned numbers, absent tasks, preferences, remembered gradients."""
