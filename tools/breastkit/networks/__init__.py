"""Networks that MONAI and segmentation_models_pytorch lack, and how a bundle picks one by name."""

from breastkit.networks.any_size import AnySize
from breastkit.networks.classifier import Classifier, ConvFeatures, TimmFeatures
from breastkit.networks.encoder_decoder import EncoderDecoder
from breastkit.networks.encoder_weights import start_encoder
from breastkit.networks.from_file import PRESETS, from_file, names_in, preset
from breastkit.networks.logit_head import LogitHead
from breastkit.networks.multitask import MultiTask
from breastkit.networks.prompted_encoder_decoder import PromptedEncoderDecoder
from breastkit.networks.spatial_dropout_unet import SpatialDropoutUNet
from breastkit.networks.transunet import TransUNet
from breastkit.networks.unet3plus import UNet3Plus

__all__ = [
    "PRESETS",
    "AnySize",
    "Classifier",
    "ConvFeatures",
    "EncoderDecoder",
    "LogitHead",
    "MultiTask",
    "PromptedEncoderDecoder",
    "SpatialDropoutUNet",
    "TimmFeatures",
    "TransUNet",
    "UNet3Plus",
    "from_file",
    "names_in",
    "preset",
    "start_encoder",
]
