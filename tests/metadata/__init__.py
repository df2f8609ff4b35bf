"""Metadata carried over between real files, judged by exiftool, exiv2, and libvips."""
