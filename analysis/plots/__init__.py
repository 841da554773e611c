"""Pictures: still (matplotlib, PNG) and interactive (plotly, HTML)."""
