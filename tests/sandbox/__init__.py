"""AWS on one machine, with a small stack. A package, so that its cloud closes before others open."""

NAME = "small-stack"
