"""Made-up clinical tables: plain ones, and a workbook laid out as Duke publishes its own."""

import numpy as np
import pandas as pd

# Groups, titles and explanations above the patients; values as they are met there.
DUKE_HEAD = [
    ["Patient Information", "Demographics", "Tumor Characteristics", "", "", "", "", "", "Mammography", "US features"],
    [
        "Patient ID", "Menopause (at diagnosis)", "ER", "Mol Subtype", "Staging(Nodes)#(Nx replaced by -1)[N]",
        "Tumor Grade", "", "Nottingham grade", "Shape", "Shape",
    ],
    [
        "", "{0 = pre,\n1 = post,\n2 = N/A}", "{0 = neg,\n1 = pos}",
        "{0 = luminal-like,\n1 = ER/PR pos, HER2 pos,\n2 = her2,\n3 = trip neg}", "",
        "Tumor Grade(T)\n(Tubule)", "Tumor Grade(N)\n(Nuclear)", "1=low 2=intermediate 3=high\n",
        "oval=0, round=1", "{0=oval, 1=irregular}",
    ],
]  # fmt: skip


def write_duke(path, rows):
    """Writes rows of patients below Duke's three rows of names."""
    pd.DataFrame([*DUKE_HEAD, *rows]).to_excel(path, header=False, index=False, sheet_name="Data")
    return path


def made_up(count=120, *, planted=0.0, seed=0):
    """Returns features and a clinical table of the same patients; grade goes with volume as strongly as planted."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=count)
    noise = random.normal(size=(count, 3))
    volume = np.exp(6 + 0.8 * (planted * hidden + (1 - planted) * noise[:, 0]))
    patients = [f"P{number:03d}" for number in range(1, count + 1)]
    features = pd.DataFrame({"patient_id": patients, "volume_voxels": volume.round(), "mean_intensity": noise[:, 1]})
    clinical = pd.DataFrame(
        {
            "patient_id": [f"case_{number}" for number in range(1, count + 1)],
            "age": random.integers(30, 80, count),
            "er": random.integers(0, 2, count),
            "subtype": random.choice(["luminal A", "HER2", "triple negative"], count),
            "grade": np.digitize(hidden, [-0.5, 0.5]) + 1,
        }
    )
    return features, clinical
