"""The annotation server: MONAI Label's protocol, a DICOMweb store, the viewer and pages, behind one access control."""
