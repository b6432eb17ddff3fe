"""What the clones show, and to whom."""
