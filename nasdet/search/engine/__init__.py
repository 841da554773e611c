"""The engine: hands out jobs, is told results, keeps the budget."""
