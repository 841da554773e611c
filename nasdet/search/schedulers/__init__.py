"""What decides which candidate trains next: one file for each kind of scheduler."""
