"""The sandbox's enhancer: an HTTP server that speaks the vendor's contract and really enhances photos."""
