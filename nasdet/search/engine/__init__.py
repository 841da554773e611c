"""The search engine: it hands out training jobs, takes their results and keeps the budget."""
