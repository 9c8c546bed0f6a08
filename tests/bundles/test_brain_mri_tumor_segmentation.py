from monai.bundle import ConfigParser
from tests.bundles.picture_contract import PictureBundleContract


class TestBrainMriTumorSegmentation(PictureBundleContract):
    bundle = "brain_mri_tumor_segmentation"
    break_at = 4

    def test_learns_from_slices_without_tumour_too(self, data):
        parser = ConfigParser()
        parser.read_config(self.config("train"))
        parser.update({"dataset_dir": str(data), "image_size": 32, "bundle_root": str(self.root)})
        assert len(parser.get_parsed_content("train#dataset")) == 16 + 1
