"""What the app tells MONAI Label of the bundles."""
