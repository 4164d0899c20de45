"""Readers of the paper's data sets, one module for each kind of published layout.

- `table`: a row for each data set, with its reader, and `load`, which calls it.
- `base`: what a reader returns, and what a row contains.
- `folders`: a folder for each class. `imagenet` and `imagenet_variants`: folders of WordNet ids.
- `lists`: text files that list the images of a split.
- `annotation_files`: labels in MATLAB, CSV and JSON files. `kitti`: labels made from distances.
- `arrays`: images as numbers in one file. `video`: clips.
- `files`, `images`, `names`: find and read files, make images from numbers, and map published class
  names to labels.
"""
