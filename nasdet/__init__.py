"""nasdet: search, from random initialisation, for the detector that fits your images and your device."""

__version__ = "0.1.0"
