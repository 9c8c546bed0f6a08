"""Images the project makes itself, with exact truth: breast MRI (`mri`) and breast ultrasound (`us`)."""
