"""Images that are calibrated, mapped and added."""
