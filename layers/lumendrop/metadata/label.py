"""States in XMP that an algorithm enhanced the photo. Source: IPTC Photo Metadata Standard 2025.1."""

from __future__ import annotations

from datetime import datetime

from lumendrop.metadata import xmp

ENHANCED = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"
"""IPTC's NewsCode for a modification by an algorithm that does not change the main content."""
SOFTWARE = "Lumendrop"


def apply(packet: xmp.Packet, model: str, now: datetime) -> None:
    """Sets the source type and the model, and adds an event with software and model to the history."""
    xmp.set_text(packet, xmp.IPTC_EXT, "DigitalSourceType", ENHANCED)
    xmp.set_text(packet, xmp.IPTC_EXT, "AISystemUsed", model)
    when = now.isoformat(timespec="seconds")
    event = {"action": "edited", "when": when, "softwareAgent": SOFTWARE, "parameters": f"enhanced by {model}"}
    xmp.add_event(packet, event)
