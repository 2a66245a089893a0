"""The benchmark's own arithmetic: what is read, judged, drawn and published. Nothing is measured here."""
