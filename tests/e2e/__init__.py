"""The pipeline from the outside. A package, so that its sandbox closes before others open."""
