"""One study or picture from input to findings, by the bundles named here unless others are given."""

BREASTS = "breast_mri_tissue_segmentation"
LESIONS = "breast_mri_lesion_segmentation"
ULTRASOUND = "breast_us_lesion_classification"
