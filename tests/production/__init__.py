"""The stack as a production account may ask for it. A package, so that its fixtures are made once."""
