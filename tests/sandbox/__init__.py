"""The sandbox itself, on a small stack of its own. A package, so that its cloud closes before others open."""
