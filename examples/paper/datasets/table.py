"""List the data sets of the paper: one row each, with its reader, metric, license and address.

`TABLE` has the 27 data sets of its zero-shot and linear-probe experiments, `ROBUSTNESS` the other
images of ImageNet's classes.

Metrics are those of table 9 of Radford et al. 2021 (https://arxiv.org/abs/2103.00020).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from examples.paper.datasets import (
    annotation_files,
    arrays,
    folders,
    imagenet,
    lists,
    rendered_text,
    robustness,
    scenes,
    video,
)
from examples.paper.datasets.base import DataSet, Entry
from examples.paper.datasets.files import MissingFile
from zeroshot.errors import InputError, shortened

UNSTATED = "not stated; cite the authors"
RESEARCH = "non-commercial research"

# fmt: off
TABLE: dict[str, Entry] = {
    "imagenet": Entry(
        imagenet.imagenet, "imagenet", "top1",
        "val/n01440764/*.JPEG ...; or val/ILSVRC2012_val_*.JPEG with ILSVRC2012_devkit_t12/data/",
        RESEARCH, "https://image-net.org/download-images"),
    "food101": Entry(
        lists.food101, "food101", "top1", "images/ and meta/test.txt",
        "scientific fair use", "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/"),
    "cifar10": Entry(
        arrays.cifar10, "cifar10", "top1", "test_batch.bin and batches.meta.txt (binary version)",
        UNSTATED, "https://www.cs.toronto.edu/~kriz/cifar.html"),
    "cifar100": Entry(
        arrays.cifar100, "cifar100", "top1", "test.bin and fine_label_names.txt (binary version)",
        UNSTATED, "https://www.cs.toronto.edu/~kriz/cifar.html"),
    "birdsnap": Entry(
        lists.birdsnap, "birdsnap", "top1", "download/images/ (or images/) and test_images.txt",
        "each photograph has its own", "http://thomasberg.org/",
        "Of 2,443 listed test images, those that Flickr no longer has are left out."),
    "sun397": Entry(
        lists.sun397, "sun397", "top1", "a/abbey/*.jpg ..., Testing_01.txt and ClassName.txt",
        UNSTATED, "https://vision.princeton.edu/projects/2010/SUN/"),
    "stanfordcars": Entry(
        annotation_files.stanfordcars, "stanfordcars", "top1",
        "cars_test/, cars_test_annos_withlabels.mat and devkit/cars_meta.mat",
        RESEARCH, "https://github.com/pytorch/vision/issues/7545"),
    "fgvcaircraft": Entry(
        lists.fgvcaircraft, "fgvcaircraft", "mean_per_class",
        "data/images/, data/images_variant_test.txt and data/variants.txt",
        RESEARCH, "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/"),
    "voc2007": Entry(
        annotation_files.voc2007, "voc2007", "map11",
        "VOCdevkit/VOC2007/ with JPEGImages/ and ImageSets/Main/*_test.txt",
        "Flickr terms of use", "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/"),
    "dtd": Entry(
        lists.dtd, "dtd", "top1", "images/ and labels/test1.txt",
        "research", "https://www.robots.ox.ac.uk/~vgg/data/dtd/"),
    "oxfordpets": Entry(
        lists.oxfordpets, "oxfordpets", "mean_per_class", "images/ and annotations/test.txt",
        "CC BY-SA 4.0", "https://www.robots.ox.ac.uk/~vgg/data/pets/"),
    "caltech101": Entry(
        folders.caltech101, "caltech101", "mean_per_class",
        "101_ObjectCategories/accordion/*.jpg ...",
        "CC BY 4.0", "https://data.caltech.edu/records/mzrjq-6wc02",
        "The 30 training images of a class are not published; the split here is another sample."),
    "flowers102": Entry(
        annotation_files.flowers102, "flowers102", "mean_per_class",
        "jpg/, imagelabels.mat and setid.mat",
        UNSTATED, "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"),
    "mnist": Entry(
        arrays.mnist, "mnist", "top1",
        "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz, compressed or not",
        UNSTATED, "http://yann.lecun.com/exdb/mnist/"),
    "fer2013": Entry(
        arrays.fer2013, "fer2013", "top1", "icml_face_data.csv or fer2013.csv",
        "terms of the Kaggle challenge",
        "https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge",
        "The 3,589 images of PrivateTest; the paper may have used other ones."),
    "stl10": Entry(
        arrays.stl10, "stl10", "top1", "test_X.bin, test_y.bin and class_names.txt",
        "terms of ImageNet", "https://cs.stanford.edu/~acoates/stl10/"),
    "eurosat": Entry(
        folders.eurosat, "eurosat", "top1", "2750/AnnualCrop/*.jpg ...",
        "MIT", "https://github.com/phelber/EuroSAT",
        "All 27,000 images; the split of the paper is not published."),
    "resisc45": Entry(
        folders.resisc45, "resisc45", "top1", "NWPU-RESISC45/airplane/*.jpg ...",
        UNSTATED, "https://gcheng-nwpu.github.io/",
        "All 31,500 images; the split of the paper is not published."),
    "gtsrb": Entry(
        annotation_files.gtsrb, "gtsrb", "top1", "Final_Test/Images/*.ppm and GT-final_test.csv",
        UNSTATED, "https://benchmark.ini.rub.de/gtsrb_dataset.html"),
    "kitti": Entry(
        scenes.kitti, "kitti", "top1",
        "training/image_2/*.png, training/label_2/*.txt and mapping/*.txt (of devkit_object.zip)",
        "CC BY-NC-SA 3.0", "https://www.cvlibs.net/datasets/kitti/eval_object.php"),
    "country211": Entry(
        folders.country211, "country211", "top1", "test/AD/*.jpg ...",
        "each photograph has its own Creative Commons license",
        "https://github.com/openai/CLIP/blob/main/data/country211.md"),
    "patchcamelyon": Entry(
        arrays.patchcamelyon, "patchcamelyon", "top1",
        "camelyonpatch_level_2_split_test_x.h5 and camelyonpatch_level_2_split_test_y.h5, unpacked",
        "CC0", "https://github.com/basveeling/pcam"),
    "ucf101": Entry(
        video.ucf101, "ucf101", "top1",
        "UCF-101/ApplyEyeMakeup/v_*.avi ..., ucfTrainTestlist/classInd.txt and testlist01.txt",
        UNSTATED, "https://www.crcv.ucf.edu/data/UCF101.php",
        "Split 1 of 3; the paper averages the three: `--split test1`, `test2` and `test3`."),
    "kinetics700": Entry(
        video.kinetics700, "kinetics700", "mean_top1_top5",
        "annotations/val.csv and val/**/ID_000000_000010.mp4",
        "annotations CC BY 4.0; the videos belong to their uploaders",
        "https://github.com/cvdfoundation/kinetics-dataset",
        "The validation clips that are in the folder; YouTube no longer has some of them, and the "
        "paper may have used other ones."),
    "clevrcounts": Entry(
        scenes.clevr_counts, "clevrcounts", "top1",
        "images/val/*.png and scenes/CLEVR_val_scenes.json",
        "CC BY 4.0", "https://cs.stanford.edu/people/jcjohns/clevr/",
        "All 15,000 validation images; the 500 images of the paper are not published."),
    "hatefulmemes": Entry(
        rendered_text.hateful_memes, "hatefulmemes", "roc_auc",
        "img/*.png and dev_seen.jsonl (or dev.jsonl)",
        "research, on Meta's terms", "https://ai.meta.com/tools/hatefulmemes/",
        "The test part here is the seen development set; `--split test_seen` and `test_unseen` "
        "read the later test sets."),
    "sst2": Entry(
        rendered_text.sst2, "sst2", "top1", "test/negative/*.png and test/positive/*.png",
        UNSTATED, "https://github.com/openai/CLIP/blob/main/data/rendered-sst2.md"),
}

ROBUSTNESS: dict[str, Entry] = {
    "imagenetv2": Entry(
        robustness.imagenet_v2, "imagenet", "top1",
        "imagenetv2-matched-frequency-format-val/0/*.jpeg ...",
        "each photograph has its own", "https://huggingface.co/datasets/vaishaal/ImageNetV2"),
    "imagenet-r": Entry(
        robustness.imagenet_r, "imagenet", "top1", "imagenet-r/n*/*.jpg",
        UNSTATED, "https://github.com/hendrycks/imagenet-r"),
    "imagenet-a": Entry(
        robustness.imagenet_a, "imagenet", "top1", "imagenet-a/n*/*.jpg",
        UNSTATED, "https://github.com/hendrycks/natural-adv-examples"),
    "imagenet-sketch": Entry(
        robustness.imagenet_sketch, "imagenet", "top1", "sketch/n*/*.JPEG",
        UNSTATED, "https://github.com/HaohanWang/ImageNet-Sketch"),
    "objectnet": Entry(
        robustness.objectnet, "imagenet", "top1",
        "objectnet-1.0/images/*/*.png and objectnet-1.0/mappings/",
        "CC BY 4.0 with two clauses: never train on it, post images only with the border",
        "https://objectnet.dev"),
}
# fmt: on


def load(
    name: str, folder: Path | str, split: str = "test", table: Mapping[str, Entry] = TABLE
) -> DataSet:
    """Read a data set from the folder with its published files.

    Args:
        name: A key of the table.
        folder: The folder that contains the files of the layout in the table, or the folder of
            their archive in it.
        split: "test", "train", or another part that the reader names.
        table: `TABLE` or `ROBUSTNESS`.

    Raises:
        InputError: There is no such data set or split, or the folder has another layout.
        MissingPackage: The files require a package of the extra `examples`.
    """
    if name not in table:
        raise InputError(
            f"no data set named {shortened(repr(name))}; expected one of {', '.join(table)}"
        )
    entry, place = table[name], Path(folder)
    try:
        if not place.is_dir():
            raise MissingFile(f"no folder {place}", missing="such folder")
        return entry.read(place, split)
    except MissingFile as error:
        raise InputError(
            f"{place}: not {name} as published: no {error.missing}. Expected {entry.layout}. Get "
            f"it from {entry.url}"
        ) from error
