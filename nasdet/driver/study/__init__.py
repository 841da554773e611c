"""A whole study: start it, resume it, run its phases on Ray Tune."""
