"""The sandbox's enhancer: an HTTP server that implements the vendor's contract and enhances photos."""
