"""Recognise folders by their names alone: official splits, parts of a data set, folders without labels, masks."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

SPLITS = {
    "train": "train", "training": "train", "trn": "train", "trainval": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val", "dev": "val", "eval": "val",
    "evaluation": "val",
    "test": "test", "testing": "test", "tst": "test", "holdout": "test",
}  # fmt: skip
_OTHER_LANGUAGES = {
    "train": "训练 训练集 訓練 訓練集 訓練用 学習 学習用 훈련 학습 entrainement entraînement apprentissage "
    "entrenamiento treino treinamento addestramento обучение тренировка eğitim szkolenie träning",
    "val": "验证 验证集 驗證 驗證集 検証 検証用 검증 validierung validación validacion validação validacao validazione "
    "validatie валидация doğrulama",
    "test": "测试 测试集 測試 測試集 テスト テスト用 評価 테스트 시험 prueba pruebas teste testes тест тестирование",
}
SPLITS |= {word: split for split, words in _OTHER_LANGUAGES.items() for word in words.split()}
# Words beside a split's name that do not name a class: `training_set`, `aug_train`, `train_images_small`.
_IMAGES = frozenset((
    "image", "images", "img", "imgs", "picture", "pictures", "pic", "pics", "photo", "photos", "jpg", "jpeg", "png",
    "rgb", "data", "dataset", "datasets", "raw", "original", "originals", "orig", "aug", "augment", "augmented",
    "augmentation", "processed", "preprocessed", "crop", "crops", "cropped", "resized", "color", "colour", "grey",
    "gray", "greyscale", "grayscale", "segmented", "dcim", "edited", "unedited", "retouched",
))  # fmt: skip
_FILLERS = _IMAGES | {
    "set", "sets", "folder", "folders", "dir", "sample", "samples", "file", "files", "split", "subset", "part", "of",
    "small", "large", "full", "clean", "cleaned", "new", "final", "public", "private", "my", "all", "v",
    "labelled", "labeled", "annotated",
}  # fmt: skip
# Words that, followed by a number or a letter, name a part of a data set; or a person, a place or a time.
PARTS = frozenset((
    "part", "batch", "fold", "chunk", "shard", "folder", "dir", "disc", "disk", "volume", "vol", "cam", "camera",
    "split", "set", "subset", "cv",
))  # fmt: skip
_GROUPS = PARTS | {
    "patient", "subject", "person", "participant", "case", "user", "session", "day", "week", "month", "year", "site",
    "scanner", "device", "lens", "room", "lab", "clinic", "hospital", "center", "centre", "group", "video", "vid",
    "clip", "scene", "sequence", "seq", "run", "trial", "round", "visit", "slide", "plot", "station", "location",
    "phone", "v", "version", "zone", "area", "place", "region", "sector", "field", "farm", "house", "building",
    "street", "quadrat", "transect", "exp", "experiment", "plate", "well", "specimen", "client", "domain", "line",
    "machine", "lot",
}  # fmt: skip
_MAGNIFICATION = re.compile(r"\d+ ?x", re.IGNORECASE)
_CAMERA_FOLDER = re.compile(r"\d{3}[A-Z0-9_]{5}")  # of a camera's card: 100CANON
_DATE = re.compile(r"(19|20)\d{2}([-_. ]?[01]\d([-_. ]?[0-3]\d)?)?")
# Folders of images that have no label, where they lie beside class folders or splits.
_UNLABELLED = re.compile(
    r"(test|val|eval)[ _.-].*|(.*[_.-])?(unlab|unsup|pred|submission|holdout|samples?$).*", re.IGNORECASE
)
_NO_LABEL = re.compile(r"unlab|unsup|(.*[ _-])?(pred|preds|predictions?|submissions?)$", re.IGNORECASE)
_NO_NAME = re.compile(r"unlab.*|unsup.*|unknown|unclassified|no[ _-]?labels?|all|mixed|none", re.IGNORECASE)
# Folders of masks and the like, beside those of the images; and masks beside the image itself.
_MASKS = re.compile(
    r"((.*[ _-])?(gt|ground[ _-]?truths?|masks?|annotations?|labels?|heat ?maps|depth|bbox(es)?|manual\d*)"
    r"|(.*[ _-])?segmentations?(class|object)?(raw)?|(masks?|labels?|annotations?|gt)[ _-].*|gtfine|.*annot)",
    re.IGNORECASE,
)
_MASK_FILE = re.compile(
    r"[ _-](mask|gt|seg|segmentation|annotation|label|trimap|depth|heatmap)[ _-]?\d*$", re.IGNORECASE
)
# Kinds of pictures of one thing: of other light, sensors and sides.
_SENSORS = frozenset((
    "rgb", "color", "colour", "depth", "thermal", "infrared", "ir", "nir", "swir", "lwir", "mwir", "fir", "tir", "flir",
    "vis", "visible", "optical", "sar", "lidar", "multispectral", "hyperspectral", "uv",
    "dapi", "hoechst", "gfp", "rfp", "yfp", "cfp", "mcherry", "fitc", "tritc", "cy3", "cy5", "brightfield",
))  # fmt: skip
# What file managers call a folder that nobody has named, without a number behind it.
_UNNAMED = frozenset((
    "new folder", "untitled folder", "untitled", "unnamed folder", "folder without a name", "new directory",
    "neuer ordner", "neu ordner", "unbenannter ordner", "ordner ohne titel", "nouveau dossier",
    "dossier sans titre", "nueva carpeta", "carpeta sin título", "nova pasta", "pasta sem título",
    "nuova cartella", "cartella senza titolo", "nieuwe map", "naamloze map", "ny mapp", "ny mappe",
    "ny mappe uden navn", "ny folder", "uusi kansio", "nowy folder", "folder bez nazwy", "nová složka",
    "nový priečinok", "új mappa", "folder nou", "dosar nou", "yeni klasör", "новая папка", "папка без названия",
    "нова папка", "νέος φάκελος", "תיקיה חדשה", "مجلد جديد", "folder baru", "thư mục mới", "โฟลเดอร์ใหม่",
    "新建文件夹", "未命名文件夹", "新增資料夾", "未命名檔案夾", "新しいフォルダー", "新しいフォルダ",
    "新規フォルダ", "名称未設定フォルダ", "새 폴더", "새폴더", "무제 폴더",
    "ohne titel", "unbenannt", "sans titre", "sin título",
    "sem título", "senza titolo", "senza nome", "naamloos", "zonder titel", "namnlös", "bez tytułu", "bez nazwy",
    "без названия", "без имени", "adsız", "başlıksız", "isimsiz", "无标题", "未命名", "無標題", "無題", "名称未設定",
    "제목 없음",
))  # fmt: skip
_COPY_NUMBER = re.compile(r"[ _-]*\(?\d*\)?$")
_PAIRS = ({"input", "target"}, {"inputs", "targets"}, {"input", "output"}, {"source", "target"}, {"lr", "hr"})
_HASH, FEWEST_HASHES = re.compile("[0-9a-f]{2}"), 6
_SUBMISSION = re.compile(r"submission|sample[ _-]?sub\b", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")


@dataclass(frozen=True)
class _Marked:
    """A name that contains a split's: `cat_train` has the `label` cat and the `split` train."""

    label: str
    split: str


def strict_split(name: str) -> str:
    """Return the split that a folder's name means by itself (`train`, `Training_Set`, `01_val`, `test1`), else ""."""
    words = [word for word in words_of(name) if not (word.isdigit() or word in _FILLERS)]
    if "".join(words) in SPLITS:  # `hold-out`, `train_val`
        return SPLITS["".join(words)]
    return _glued(words[0]) if len(words) == 1 else ""


def split_names(names: Iterable[str]) -> dict[str, str]:
    """Return the official splits among folder names, by name.

    `train`, `training_set` and `test1` are splits anywhere; `seg_train` only beside a `seg_test` or the like, because
    `steam_train` may be a class.
    """
    found, marked = {}, {}
    names = list(names)
    for name in names:
        if split := strict_split(name):
            found[name] = split
        elif mark := _marked(name):
            marked[name] = mark
    started = {name: split for name in names if (split := found.get(name) or _begun(name))}
    if len(started) == len(names) and "train" in started.values() and len(set(started.values())) > 1:
        return started
    for label in {mark.label.casefold() for mark in marked.values()}:
        alike = {name: mark.split for name, mark in marked.items() if mark.label.casefold() == label}
        kinds = {*alike.values(), *found.values()}
        if len({mark.label.casefold() for mark in marked.values()}) == 1 and "train" in kinds and len(kinds) > 1:
            found |= alike
    return found


def classes_with_splits(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return (class, split) of each name where all contain both (`cat_train`, `dog_test`; `trainA`, `testB`), else {}.

    A name without a split is accepted where it is the class of another (`cat`, `cat_val`).
    """
    marked = {name: mark for name in names if (mark := _marked(name))}
    labels, kinds = {mark.label for mark in marked.values()}, {mark.split for mark in marked.values()}
    plain = {name for name in names if name not in marked}
    paired = len(marked) > len(labels - plain) and len(kinds) + bool(plain) > 1
    if len(labels) < 2 or not paired or not plain <= labels:
        return {}
    return {name: (mark.label, mark.split) for name, mark in marked.items()} | {name: (name, "") for name in plain}


def split_in(name: str) -> str:
    """Return the split that one of a name's words means (`trainLabels`, `my_test_list`), "" without one."""
    return next((split for word in words_of(name) if (split := _glued(word))), "")


def is_submission(name: str) -> bool:
    """Return whether a table is a sample submission by its name, and so holds no labels."""
    return bool(_SUBMISSION.search(name.rpartition("/")[2]))


def is_container(name: str) -> bool:
    """Return whether a folder of this name may contain class folders: `images`, `40X`, `cam1`, `fold_2`."""
    words = words_of(name)
    images = {word for word in words if not word.isdigit()}
    numbered = len(words) > 1 and words[0] in _GROUPS and all(word.isdigit() or len(word) == 1 for word in words[1:])
    whole = bool(images) and images <= _IMAGES
    return (
        whole or numbered or is_unnamed(name) or bool(_MAGNIFICATION.fullmatch(name) or _CAMERA_FOLDER.fullmatch(name))
    )


def are_parts(names: Iterable[str]) -> bool:
    """Return whether names differ as parts of a data set do, and not as classes.

    Such are `part1` and `part2`, `images` and `images_small`; persons, videos and days (`patient_01`, `2020-01-31`);
    multiples of hundreds (`00000`, `01000`); sensors (`rgb`, `thermal`); and hashes (`3f`, `a1`).
    """
    names = list(names)
    if all(map(_DATE.fullmatch, names)) or _count_by_hundreds(names) or _are_numbered_groups(names):
        return True
    lowered = {name.lower() for name in names}
    if lowered <= _SENSORS or _are_hashes(names):
        return True
    rests = set()
    for name in names:
        words = words_of(name)
        known = _IMAGES.intersection(words) or (PARTS.intersection(words) and len(words) > 1)
        if not known and not _CAMERA_FOLDER.fullmatch(name):
            return False
        rests.add(() if not known else tuple(word for word in words if not _says_nothing(word)))
    return len(rests) == 1


def _are_numbered_groups(names: list[str]) -> bool:
    """Return whether all names are the same one of _GROUPS with a number or a letter: `video1`, `site_B`."""
    words = [words_of(name) for name in names]
    numbered = all(len(some) == 2 and (some[1].isdigit() or len(some[1]) == 1) for some in words)
    return numbered and len({some[0] for some in words}) == 1 and words[0][0] in _GROUPS


def _count_by_hundreds(names: list[str]) -> bool:
    """Return whether names are numbers from 0 in equal steps of hundreds, as folders of a thousand files each."""
    numbers = sorted(int(name) for name in names if name.isdecimal())
    steps = {after - before for before, after in pairwise(numbers)}
    return len(numbers) == len(names) and numbers[:1] == [0] and len(steps) == 1 and min(steps) % 100 == 0


def _are_hashes(names: list[str]) -> bool:
    """Return whether folders are named like the first digits of hashes, by which caches store files.

    Such are pairs of hexadecimal digits, some with a letter first and some with a number (`3f`, `a1`), and all sixteen
    single digits.
    """
    lowered = {name.lower() for name in names}
    if lowered == set("0123456789abcdef"):
        return True
    pairs = len(lowered) >= FEWEST_HASHES and all(map(_HASH.fullmatch, lowered))
    return pairs and len({name[0].isdigit() for name in lowered}) == 2


def is_mask(name: str) -> bool:
    """Return whether a folder holds masks or the like by its name."""
    return bool(_MASKS.fullmatch(name))


def masked_stem(stem: str) -> str:
    """Return the stem of the image of which a file is the mask by its name (`12` for `12_mask`), else ""."""
    match = _MASK_FILE.search(stem)
    return stem[: match.start()] if match else ""


def may_be_unlabelled(name: str) -> bool:
    """Return whether a folder beside class folders or splits may hold images without a label by its name."""
    return bool(_UNLABELLED.fullmatch(name))


def is_unlabelled(name: str) -> bool:
    """Return whether the images of a folder have no label by its name."""
    return bool(_NO_LABEL.match(name)) or is_unnamed(name)


def is_unnamed(name: str) -> bool:
    """Return whether a folder is called as file managers call new ones: `New folder`, `Neuer Ordner (2)`."""
    return _COPY_NUMBER.sub("", name.lower()) in _UNNAMED


def names_no_class(name: str) -> bool:
    """Return whether the only folder in a split's is not a class by its name: `test/unknown`, `test/images`."""
    return bool(_NO_NAME.fullmatch(name)) or is_container(name) or bool(strict_split(name))


def are_images_and_masks(labels: Iterable[str]) -> bool:
    """Return whether the names are `images` and `masks` or the like, and so not classes."""
    masks = [label for label in labels if is_mask(label)]
    others = [label for label in labels if label not in masks]
    pictures = all(is_container(label) or "input" in words_of(label) for label in others)
    return (bool(masks) and bool(others) and pictures) or {label.lower() for label in labels} in _PAIRS


def _says_nothing(word: str) -> bool:
    """Return whether a word in the name of a part does not identify the data set: `7`, `b`, `images`, `part`."""
    return word.isdigit() or len(word) == 1 or word in _FILLERS | PARTS


def words_of(name: str) -> list[str]:
    """Return the words and numbers of a name in lower case: `seg_trainSet1` is seg, train, set and 1."""
    return [word.lower() for word in _WORD.findall(name)]


def _glued(word: str) -> str:
    """Return the split of `train`, `trainset`, `testdata`; "" of another word."""
    if word in SPLITS:
        return SPLITS[word]
    return next(
        (split for start, split in SPLITS.items() if word.startswith(start) and word[len(start) :] in _FILLERS), ""
    )


def _begun(name: str) -> str:
    """Return the split with whose word of four letters or more a longer one begins: `Trainingsdaten`, `Testbilder`."""
    longer = name[1:].isalpha() and name[1:].islower()
    return next((split for word, split in SPLITS.items() if longer and len(word) > 3 and name.lower().startswith(word)),
                "")  # fmt: skip


def _marked(name: str) -> _Marked | None:
    """Return the rest and the split of a name that begins or ends with a split's; None for another."""
    words = list(_WORD.finditer(name))
    found = [number for number, word in enumerate(words) if _glued(word[0].lower())]
    if len(found) != 1:
        return None
    number, split = found[0], _glued(words[found[0]][0].lower())
    before, after = words[:number], words[number + 1 :]
    empty = [all(word[0].isdigit() or word[0].lower() in _FILLERS for word in some) for some in (before, after)]
    if empty == [False, True]:
        return _Marked(name[: words[number].start()].rstrip(" _.-"), split)
    if empty == [True, False]:
        return _Marked(name[words[number].end() :].lstrip(" _.-"), split)
    return None
