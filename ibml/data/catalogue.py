"""The data sets that ibml reads: what they are, and where they are to be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["audio-visual", "image-text", "2D-3D", "vectors", "your own"]
AV: Family = "audio-visual"
_FILES, _SEE = "from its files", "see its page"


@dataclass(frozen=True)
class About:
    """A data set in a few words. `rows` are those of the papers' splits, train / val / test."""

    family: Family
    title: str
    rows: str
    source: str
    licence: str


CATALOGUE = {
    "mfeat": About("vectors", "UCI Multiple Features", "1,200 / 200 / 600", "ships with ibml", "CC BY 4.0"),
    "cremad": About(
        AV, "CREMA-D, 6 emotions", "6,698 / - / 744", "github.com/CheyneyComputerScience/CREMA-D", "ODbL 1.0"
    ),
    "ave": About(AV, "AVE, 28 events", "3,339 / 402 / 402", "github.com/YapengTian/AVE-ECCV18", _SEE),
    "avsbench": About(AV, "AVSBench, one source (S4)", _FILES, "opennlplab.github.io/AVSBench", _SEE),
    "vggsound": About(AV, "VGGSound, 50 classes", _FILES, "robots.ox.ac.uk/~vgg/data/vggsound", "CC BY 4.0 (list)"),
    "kinetics_sounds": About(AV, "Kinetics-Sounds", _FILES, "clips of Kinetics-400", "CC BY 4.0 (list)"),
    "ucf101": About(AV, "UCF-101, clips with sound", _FILES, "crcv.ucf.edu/data/UCF101.php", "none stated"),
    "food101": About("image-text", "UPMC Food-101", "62,971 / 5,000 / 22,715", "visiir.isir.upmc.fr", _SEE),
    "mvsa": About("image-text", "MVSA-Single, 3 sentiments", "1,554 / 517 / 518", "mcrlab.net", _SEE),
    "mnist3d": About("2D-3D", "3D MNIST", "5,000 / - / 1,000", "kaggle.com/datasets/daavoo/3d-mnist", _SEE),
    "modelnet40": About("2D-3D", "ModelNet40, 180 views", "9,840 / - / 2,468", "modelnet.cs.princeton.edu", _SEE),
    "folder": About("your own", "tables, a column per modality", "from the tables", "-", "-"),
}
"""By the type of their configuration."""
