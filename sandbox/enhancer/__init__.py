"""The sandbox's enhancer: an HTTP server that implements the vendor's contract and enhances photos."""

API_KEY = "SANDBOX_API_KEY"
"""The variable with the bearer key that callers must send. Other users of the machine can read arguments."""
