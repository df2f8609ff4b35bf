"""`lumendrop board`: a live local web page that shows a stack and operates it."""
