"""The embedded DICOMweb store: an index of DICOM files, searching and retrieving, storing, forwarding."""
