"""Files of other kinds: one line that says what they are, what is read, and how to make it."""

import pickle
import zipfile
from pathlib import Path

import pytest

from accelsim.errors import TraceError
from accelsim.kinds import READ_KINDS, other_kind
from accelsim.trace import trace_workload


def archive(path: Path, **records: bytes) -> None:
    with zipfile.ZipFile(path, "w") as stream:
        for name, data in records.items():
            stream.writestr(f"m/{name.replace('__', '/').replace('_pkl', '.pkl')}", data)


@pytest.mark.parametrize(
    ("name", "content", "kind", "remedy"),
    [
        ("m.tflite", b"model", "TensorFlow Lite", "tf2onnx.convert --tflite m.tflite"),
        ("model", b"\x1c\0\0\0TFL3\0", "TensorFlow Lite", "tf2onnx.convert --tflite model"),
        ("m.h5", b"\x89HDF\r\n\x1a\n", "Keras", "--keras m.h5"),
        ("config.json", b'{"hidden_size": 8}', "without layers", "torch.export.save"),
        ("description", b'\n{"hidden_size": 8}', "without layers", "torch.export.save"),
        ("problem.yaml", b"problem:\n", "another tool", "topology table"),
        ("chip.yaml", b"name: x\npe_array:\n", "hardware description", "it goes first"),
        ("m.safetensors", b"\0", "weights without a graph", "accelsim import m.safetensors"),
        ("net.csv.gz", b"\x1f\x8b", "compressed", "unpack it"),
        ("m.pt", pickle.dumps({"a": 1}), "a pickle", r"state_dict\(\)"),
    ],
)
def test_files_are_named_by_content_and_suffix(
    tmp_path: Path, name: str, content: bytes, kind: str, remedy: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TraceError, match=f"{kind}.*; read are tickets.*ONNX.*{remedy}") as caught:
        trace_workload(str(path))
    assert "\n" not in str(caught.value)


def test_archives_and_folders(tmp_path: Path) -> None:
    archive(tmp_path / "script.pt", code____torch__=b"", data_pkl=b"")
    archive(tmp_path / "whole.pth", data_pkl=b"ctorch.nn.modules.linear\nLinear\n")
    archive(tmp_path / "weights.pt", data_pkl=b"}.")
    archive(tmp_path / "weights.pth.tar", data_pkl=b"}.")
    archive(tmp_path / "several.zip", model_onnx=b"")
    archive(tmp_path / "exported.pt", models__model_json=b"", archive_format=b"pt2")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    said = {path.name: other_kind(path) or "" for path in tmp_path.iterdir()}
    assert "TorchScript" in said["script.pt"]
    assert "torch.save(module.state_dict(), " in said["whole.pth"]
    assert said["weights.pt"] == said["weights.pth.tar"] == ""
    assert "several.zip: is an archive of files; read are" in said["several.zip"]
    assert said["exported.pt"].endswith("name it .pt2, by which such files are known")
    assert "--saved-model saved --output" in said["saved"]


def test_checkpoints_are_of_a_kind_that_import_reads(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"")
    assert READ_KINDS in (other_kind(path) or "")
    assert other_kind(path, is_import=True) is None
