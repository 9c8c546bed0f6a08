"""What ignite and MONAI lack for training: runs that go on, best weights, threshold search, several processes."""

from breastkit.training.autocast_inferer import AutocastInferer
from breastkit.training.averaged_runs import average_runs
from breastkit.training.batch_dice import BatchDiceLoss
from breastkit.training.best_weights import BestWeights
from breastkit.training.case_dice import CaseDice
from breastkit.training.checkpoint import Checkpoint, keep_state
from breastkit.training.class_auc import ClassAUC
from breastkit.training.clean_up_search import CleanUpSearch
from breastkit.training.curves import Curves
from breastkit.training.decision_search import DecisionSearch, choose_rule, rule_over, stored_rule
from breastkit.training.distributed import SharedBatches, SharedLoader, is_main, start_processes, stop_processes
from breastkit.training.early_stopping import EarlyStopping
from breastkit.training.engines import Trainer, Validator
from breastkit.training.epoch_progress import EpochProgress
from breastkit.training.epoch_seeds import EpochSeeds
from breastkit.training.head_auc import HeadAUC, head_metrics
from breastkit.training.heads_loss import HeadsLoss
from breastkit.training.multitask_loss import LesionLabel, MultiTaskLoss
from breastkit.training.one_cycle import OneCycle
from breastkit.training.run_folder import RunFolder, case_list_hash
from breastkit.training.shipping import ship_weights
from breastkit.training.simulated_clicks import ClickedIteration, next_click
from breastkit.training.threshold_search import ThresholdSearch
from breastkit.training.training_handlers import TrainingHandlers
from breastkit.training.weight_average import WeightAverage
from breastkit.weights import WeightsLoader, add_facts, load_weights, read_model_json, save_weights

__all__ = [
    "AutocastInferer",
    "BatchDiceLoss",
    "BestWeights",
    "CaseDice",
    "Checkpoint",
    "ClassAUC",
    "CleanUpSearch",
    "ClickedIteration",
    "Curves",
    "DecisionSearch",
    "EarlyStopping",
    "EpochProgress",
    "EpochSeeds",
    "HeadAUC",
    "HeadsLoss",
    "LesionLabel",
    "MultiTaskLoss",
    "OneCycle",
    "RunFolder",
    "SharedBatches",
    "SharedLoader",
    "ThresholdSearch",
    "Trainer",
    "TrainingHandlers",
    "Validator",
    "WeightAverage",
    "WeightsLoader",
    "add_facts",
    "average_runs",
    "case_list_hash",
    "choose_rule",
    "head_metrics",
    "is_main",
    "keep_state",
    "load_weights",
    "next_click",
    "read_model_json",
    "rule_over",
    "save_weights",
    "ship_weights",
    "start_processes",
    "stop_processes",
    "stored_rule",
]
