"""What `experiments.benchmark` measures, and against whom."""
