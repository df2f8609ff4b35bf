"""The metadata of photos: EXIF, XMP, and IPTC, and the parts of files that hold them. `transfer` is its interface."""
