"""The search space that writes itself: from the data set, the machine and the time to a space with a reason for each of
its decisions (`nasdet space`, and `nasdet search` without SPACE)."""
