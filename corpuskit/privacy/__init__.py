"""Personal information: find it in the shadow of a text, mask it in the text."""
