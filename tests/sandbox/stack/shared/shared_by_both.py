"""The fixture's layer."""

WORD = "from the layer"
