"""Who watches a running study: the terminal, MLflow, the deletion of old files."""
