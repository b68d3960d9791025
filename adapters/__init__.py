"""Training the teacher's LoRA adapters with the paper's recipe: one shared pair stage, then one copy a task."""
