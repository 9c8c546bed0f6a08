import cv2
import numpy as np

from benchmarks.marks import marks_of
from breastkit.phantoms.us.pictures import make_us_phantom


def test_callipers_and_text_are_found_and_tissue_is_left():
    gray = make_us_phantom(3, 1, size=(240, 300), label="benign").image
    # A phantom may have marks of its own.
    gray = cv2.inpaint(gray, marks_of(gray), 3, cv2.INPAINT_TELEA)
    marked = gray.copy()
    for place in ((60, 80), (200, 150)):
        cv2.drawMarker(marked, place, 255, cv2.MARKER_CROSS, 11, 1)
    cv2.putText(marked, "RIGHT", (20, 220), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    drawn = marked != gray
    marks = marks_of(marked) > 0
    assert marks[drawn].mean() > 0.9
    assert marks[~cv2.dilate(drawn.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)].mean() < 0.01
