"""`nasdet train`: what was asked, and the training itself."""
