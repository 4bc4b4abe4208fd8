"""Files of other kinds: what they are, which kinds are read, and how to make one of these.

Recognised by their first bytes where a kind has such, else by their suffix. Nothing is executed, and of an archive only
the directory and the list of a pickle's classes are looked at.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

DECODER_FAMILIES = ("gpt2", "llama", "mistral", "qwen2", "bitnet", "mixtral")
"""Values of ``model_type`` in a ``config.json`` that is read."""
READ_KINDS = (
    "read are tickets (.pt), modules exported by torch (.pt2), ONNX files (.onnx), topology tables (.csv), "
    f"configurations of language models (config.json of {', '.join(DECODER_FAMILIES)}) and networks by name"
)
_EXPORT = "export the module: torch.export.save(torch.export.export(module.eval(), (example,)), 'm.pt2'), or as ONNX"
_TF = "convert it: python -m tf2onnx.convert --{option} {name} --output m.onnx"
_STATE = "save the weights: torch.save(module.state_dict(), 'm.pt') for accelsim import"
_MAX_PICKLE_BYTES = 16 << 20
_HEAD_BYTES = 1 << 20
_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_OF_TORCH = (".pt", ".pth", ".pt2", ".ckpt", "")
_CHECKPOINTS = (".ckpt", ".safetensors")
SAFETENSORS_INDEX, TORCH_INDEX = ".safetensors.index.json", ".bin.index.json"
"""How the names of indices end: of several files of safetensors, and of ``torch.save``."""
_INDEX = (SAFETENSORS_INDEX, TORCH_INDEX)

_ARCHIVE = "archive"  # no suffix: checkpoints of torch are called .pth.tar
_ZIP = b"PK\x03\x04"
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (4, b"TFL3", ".tflite"),
    (4, b"ORTM", ".ort"),
    (0, b"\x89HDF\r\n\x1a\n", ".h5"),
    (0, b"GGUF", ".gguf"),
    (0, b"\x93NUMPY", ".npy"),
    *((0, bytes((0x80, protocol)), ".pkl") for protocol in range(2, 6)),
    (0, b"\x1f\x8b", ".gz"),
    (0, b"BZh", ".gz"),
    (0, b"\xfd7zXZ", ".gz"),
    (0, b"(\xb5/\xfd", ".gz"),
    (257, b"ustar", _ARCHIVE),
)
_WHOLE_MODULE = ("a whole pickled module, whose classes would have to be executed", f"{_STATE}, or {_EXPORT}")
_MODEL_TEXT = "a description without layers or shapes"
_OTHER_TOOL = "a description for another tool"
_SUFFIXES: dict[str, tuple[str, str]] = {
    ".tflite": ("a TensorFlow Lite model", _TF.format(option="tflite", name="{name}")),
    ".ort": ("in ONNX Runtime's own format", "give the ONNX file that it was made from"),
    ".h5": ("an HDF5 file (Keras)", _TF.format(option="keras", name="{name}")),
    ".hdf5": ("an HDF5 file (Keras)", _TF.format(option="keras", name="{name}")),
    ".keras": ("a Keras model", _TF.format(option="keras", name="{name}")),
    ".pb": ("a TensorFlow graph", _TF.format(option="graphdef", name="{name}")),
    ".gguf": ("a file of GGUF weights, which hold no graph", "export the model from its source as ONNX or .pt2"),
    ".ggml": ("a file of GGML weights, which hold no graph", "export the model from its source as ONNX or .pt2"),
    ".safetensors": ("a file of weights without a graph", "import them: accelsim import {name} --out ticket.pt"),
    **dict.fromkeys(
        _INDEX, ("an index of files of weights without a graph", "import them: accelsim import {name} --out ticket.pt")
    ),
    ".npy": ("an array", "write layer sizes into a topology table, or export the model as ONNX or .pt2"),
    ".npz": (
        "a file of arrays without a graph",
        "write layer sizes into a topology table, or export the model as ONNX or .pt2",
    ),
    ".gz": ("compressed", "unpack it first"),
    _ARCHIVE: ("an archive of files", "unpack it, and give the model in it"),
    ".pkl": ("a pickle, which would have to be executed", f"{_STATE}, or {_EXPORT}"),
    ".pickle": ("a pickle, which would have to be executed", f"{_STATE}, or {_EXPORT}"),
    ".ckpt": ("a checkpoint", f"import it with accelsim import if torch wrote it; else {_EXPORT}"),
    ".json": (_MODEL_TEXT, f"load the model and {_EXPORT}"),
    ".yaml": (_OTHER_TOOL, f"write its layers into a topology table, or {_EXPORT}"),
    ".yml": (_OTHER_TOOL, f"write its layers into a topology table, or {_EXPORT}"),
    ".toml": (_OTHER_TOOL, f"write its layers into a topology table, or {_EXPORT}"),
    ".cfg": (_OTHER_TOOL, f"write its layers into a topology table, or {_EXPORT}"),
    ".xml": ("in OpenVINO's format", "give the ONNX file or torch module that it was made from"),
    ".mlmodel": ("a Core ML model", "give the ONNX file or torch module that it was made from"),
    ".mlpackage": ("a Core ML model", "give the ONNX file or torch module that it was made from"),
    ".engine": ("a TensorRT engine", "give the ONNX file that it was made from"),
    ".plan": ("a TensorRT engine", "give the ONNX file that it was made from"),
    ".prototxt": ("in Caffe's format", "convert it to ONNX, or write its layers into a topology table"),
    ".caffemodel": ("in Caffe's format", "convert it to ONNX, or write its layers into a topology table"),
    ".pdmodel": ("in Paddle's format", "convert it with paddle2onnx to ONNX"),
    ".mlir": ("MLIR", f"start from its source and {_EXPORT}"),
    ".py": ("Python source", f"load it and {_EXPORT}"),
    ".xlsx": ("a spreadsheet", "save its sheet as CSV, comma or semicolon separated"),
    ".xls": ("a spreadsheet", "save its sheet as CSV, comma or semicolon separated"),
    ".ods": ("a spreadsheet", "save its sheet as CSV, comma or semicolon separated"),
}


def other_kind(path: str | os.PathLike[str], *, is_import: bool = False) -> str | None:
    """Return one line on a file or folder that is no workload: what it is, what is read, how to make one; else None.

    What is missing, unreadable or of a kind that is read gives None: its reader says more. Checkpoints, which alone are
    no workloads, are read where ``is_import``.
    """
    place = Path(path)
    try:
        if place.is_dir():
            return (_folder_of_weights(place) if is_import else None) or _folder(place)
        if is_import and place.name.lower().endswith(_INDEX):
            return None
        if not place.is_file():
            return None
        with place.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return None
    suffix = place.suffix.lower()
    if is_import and suffix in _CHECKPOINTS:
        suffix = ""
    if head.startswith(_ZIP):
        return _archive(place, suffix)
    if head.startswith(_LEGACY_TORCH):
        return _line(place, *_WHOLE_MODULE) if b"torch.nn.modules" in head else None
    kind = next((kind for start, magic, kind in _MAGIC if head.startswith(magic, start)), None)
    if kind is None and suffix in (".yaml", ".yml") and b"pe_array" in head:
        return _line(place, "a hardware description", "it goes first: accelsim run HARDWARE WORKLOAD")
    index = next((ending for ending in _INDEX if place.name.lower().endswith(ending)), None)
    known = _SUFFIXES.get(kind or index or suffix)
    if known is None and _is_json(head):
        known = _SUFFIXES[".json"]
    return None if known is None else _line(place, *known)


def _line(place: Path, kind: str, remedy: str) -> str:
    return f"{place}: is {kind}; {READ_KINDS}; {remedy.format(name=place.name)}"


def _is_json(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b'["', b"[{"))


def _folder(place: Path) -> str:
    if (place / "saved_model.pb").is_file():
        return _line(place, "a TensorFlow SavedModel", _TF.format(option="saved-model", name="{name}"))
    if (place / "config.json").is_file():
        return _line(place, "a folder of a model hub", f"give the config.json in it, or load the model and {_EXPORT}")
    if place.suffix.lower() == ".mlpackage":
        return _line(place, *_SUFFIXES[".mlpackage"])
    return _line(place, "a folder", "give one file in it")


def _folder_of_weights(place: Path) -> str | None:
    """Return which file of a hub's folder is the checkpoint: the index of several, or the only one."""
    names = sorted(file.name for file in place.iterdir())
    for endings in (_INDEX, (".safetensors",), (".bin",)):
        found = [name for name in names if name.lower().endswith(endings)]
        if found:
            return f"{place}: is a folder; give the checkpoint in it: {place / found[0]}"
    return None


def _archive(place: Path, suffix: str) -> str | None:
    """Return the line on an archive: TorchScript, a whole pickled module, a spreadsheet, arrays; None for others."""
    try:
        with zipfile.ZipFile(place) as archive:
            names = {name.partition("/")[2]: name for name in archive.namelist()[:100_000]}
            if any(name.startswith("code/") for name in names) and "data.pkl" in names:
                return _line(place, "TorchScript, which would have to be executed", f"take its source and {_EXPORT}")
            if suffix in _SUFFIXES:
                return _line(place, *_SUFFIXES[suffix])
            if {"models/model.json", "archive_format"} & set(names) and suffix != ".pt2":
                return f"{place}: a module exported by torch; name it .pt2, by which such files are known"
            entry = archive.getinfo(names["data.pkl"]) if "data.pkl" in names else None
            if entry is None and suffix not in _OF_TORCH:
                return _line(place, *_SUFFIXES[_ARCHIVE])
            if entry is None or entry.file_size > _MAX_PICKLE_BYTES:
                return None
            program = archive.read(entry)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError):
        return None
    if b"torch.nn.modules" not in program:
        return None
    return _line(place, *_WHOLE_MODULE)
