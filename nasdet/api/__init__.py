"""The Python interface: what `import nasdet` offers, each name resolved when it is first used."""
