"""What answers over a network: the embedded DICOMweb store and the pages people open in a browser."""
