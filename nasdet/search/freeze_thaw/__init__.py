"""The model and the decisions of freeze-thaw search."""
