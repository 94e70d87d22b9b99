"""What the columns of tables are called: paths, labels and splits, as labelling tools and competitions name them."""

import re
from collections.abc import Iterable

# In the form of `plain_name`; the first that a table has is taken.
PATHS = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_name", "image_id",
    "img", "img_path", "id", "name", "imagename", "imagepath", "imageid", "image_file", "image_filename", "img_name",
    "img_id", "img_file", "image_index", "picture", "photo", "photo_id", "filenames", "files", "images", "paths", "uri",
    "url", "image_url", "key", "uuid",
)  # fmt: skip
LABELS = (
    "label", "class", "category", "target", "class_name", "label_name", "classid", "breed", "species", "y", "labels",
    "classname", "class_id", "class_label", "category_name", "category_id", "label_id", "labelname", "tag", "choice",
)  # fmt: skip
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold_name", "usage")
# Columns of true and false: the split of those that are true, and of the others.
FLAGS = {
    "is_valid": ("val", "train"), "is_val": ("val", "train"), "is_test": ("test", ""), "is_train": ("train", "test"),
    "is_training": ("train", "test"), "is_training_image": ("train", "test"),
}  # fmt: skip
TRUE, FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no", "")
ABSENT = ("", "nan", "na", "n/a", "none", "null")  # what stands for no number


def plain_name(column: str) -> str:
    """Return a column's name as PATHS and LABELS have it: `Image Name`, `image-name` and `#Image_Name` are one."""
    return re.sub(r"[ .\-/]+", "_", column.strip(" #").lower())


def column_of(columns: list[str], wanted: str, usual: tuple[str, ...]) -> str:
    """Return the column that is `wanted`, or for auto the first that has a usual name; "" where there is none."""
    if wanted != "auto":
        return wanted.strip() if wanted.strip() in columns else ""
    return next(iter(usual_columns(columns, usual)), "")


def usual_columns(columns: list[str], usual: tuple[str, ...]) -> list[str]:
    """Return the columns that have a usual name, in the order of `usual`."""
    plain = {plain_name(column): column for column in reversed(columns)}
    return [plain[name] for name in usual if name in plain]


def is_header(cells: Iterable[str]) -> bool:
    """Whether cells are the names of columns, one of paths and one of labels."""
    plain = {plain_name(cell) for cell in cells}
    return not plain.isdisjoint(PATHS) and not plain.isdisjoint(LABELS)
