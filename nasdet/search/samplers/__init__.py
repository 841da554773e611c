"""What parameters to try next: random, quasi-random, TPE, Gaussian process, NSGA."""
