"""What is known of a study and where it is stored."""
