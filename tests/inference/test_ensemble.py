import pytest
import torch
from monai.inferers import SimpleInferer
from torch import nn

from breastkit.errors import BreastkitError
from breastkit.inference import Ensemble, Predictor, fold_weights_beside
from breastkit.inference.ensemble import dropout_on
from breastkit.training import save_weights


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout2d(0.5), nn.Conv2d(8, 1, 1)).eval()


def test_one_opinion_is_the_inferers_own():
    image, one = torch.randn(2, 1, 8, 8), network()
    assert torch.equal(Ensemble(SimpleInferer())(image, one), one(image))


@pytest.mark.parametrize("inferer", [SimpleInferer(), Predictor(backend="auto")])
def test_dropout_gives_other_answers_and_leaves_the_network_as_it_was(inferer):
    image, one = torch.randn(2, 1, 8, 8), network()
    before = one(image)
    members = Ensemble(inferer, source="dropout", samples=3)(image, one)
    assert members.shape == (2, 3, 8, 8)
    assert not torch.equal(members[:, 0], members[:, 1])
    assert not any(module.training for module in one.modules())
    assert torch.equal(one(image), before), "batch norm did not learn meanwhile"


def test_batch_norm_is_off_while_dropout_is_on():
    one = network()
    with dropout_on(one):
        assert [module.training for module in one] == [False, False, True, False]


def test_folds_answer_with_their_own_weights(tmp_path):
    image, folds = torch.randn(1, 1, 8, 8), [network(), network(), network()]
    for number, fold in enumerate(folds):
        nn.init.constant_(fold[-1].bias, number)
        save_weights(tmp_path / f"fold{number}", fold, architecture="small")
    paths = [tmp_path / f"fold{number}" for number in range(3)]
    members = Ensemble(SimpleInferer(), source="folds", fold_weights=paths)(image, folds[0])
    for number, fold in enumerate([folds[0], *folds]):
        assert torch.equal(members[:, number : number + 1], fold(image))


def test_folds_that_ship_lie_beside_the_weights(tmp_path):
    for name in (".", "fold0", "fold1", "unet"):
        save_weights(tmp_path / name, network(), image_size=32 if name == "fold1" else 64)
    folds = [tmp_path / name / "model.pt" for name in ("fold0", "fold1")]
    assert fold_weights_beside(tmp_path) == fold_weights_beside(tmp_path / "model.pt") == folds
    # Networks of several sizes are no ensemble.
    assert fold_weights_beside(tmp_path, image_size=64) == folds[:1]
    assert fold_weights_beside(folds[0]) == fold_weights_beside(tmp_path / "fold0") == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": "folds"}, "--fold_weights"),
        ({"source": "guess"}, "choose one of none, dropout, folds"),
        ({"source": "dropout", "samples": 1}, "needs 2 or more"),
    ],
)
def test_what_cannot_be_is_one_sentence(options, words):
    with pytest.raises(BreastkitError, match=words):
        Ensemble(SimpleInferer(), **options)


def test_a_network_without_dropout_says_so():
    with pytest.raises(BreastkitError, match="no dropout"):
        Ensemble(SimpleInferer(), source="dropout")(torch.zeros(1, 1, 4, 4), nn.Conv2d(1, 1, 1))
