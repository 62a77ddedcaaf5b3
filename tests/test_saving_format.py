"""Files: the safetensors format, what is refused before anything large is allocated, and files of earlier versions."""

from __future__ import annotations

import json
import re
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from custom_layers import Branches, Scale, batch
from saved.make_saved import INPUTS, OUTPUTS, model_to_keep

import fastlayers as fl
from fastlayers.saving import FileFormatError, content, load, load_weights, safetensors, save, save_weights

VERSIONS = sorted((Path(__file__).parent / "saved").glob("*.safetensors"))
SLACK = 2**20  # bytes beyond twice the size of a file: the objects of a small model, NumPy, the stack of an error


def small_model() -> fl.Sequential:
    shared = fl.Dense(6, "tanh")
    layers = [fl.Conv2D(2, 2, activation="relu"), fl.Flatten(), shared, shared, Branches(3), Scale(name="last")]
    model = fl.Sequential(layers, seed=0, name="small")
    model(batch(1, 2, 4, 1))
    model.layers[0].trainable = False
    return model


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "m.safetensors"
    save(small_model(), path)
    return path.read_bytes()


def split(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """header, arrays"""
    n = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + n]), raw[8 + n :]


def joined(header: Any, arrays: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + arrays


def sealed(model: Any, raw: bytes) -> bytes:
    """The file with another description of its model, and a checksum that is right."""
    header, arrays = split(raw)
    metadata = header["__metadata__"]
    metadata["fastlayers_model"] = model if isinstance(model, str) else json.dumps(model)
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    layout = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in entries.items()}
    digest = content._begun(layout, {name: text for name, text in metadata.items() if name != "fastlayers_checksum"})
    for name in sorted(entries):
        digest.update(arrays[slice(*entries[name]["data_offsets"])])
    metadata["fastlayers_checksum"] = digest.hexdigest()
    return joined(header, arrays)


def read(raw: bytes, path: Path, reader: Callable[[Path], Any] = load, slack: int = SLACK) -> Any:
    """What a reader makes of these bytes, or its FileFormatError; the memory it takes is bounded."""
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        return reader(path)
    except FileFormatError as error:
        return error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= 2 * len(raw) + slack


class Mixed(fl.Flatten, registered_name="tests.saving.Mixed"):
    """Flatten, with arrays of all kinds about it"""

    def __init__(self, **options):
        super().__init__(**options)
        values = np.arange(5, dtype="f4"), np.float64(3), np.float32([[]])
        self.extra = [fl.Parameter(str(i), np.asarray(value)) for i, value in enumerate(values)]


class TestFormat:
    def test_the_safetensors_package_reads_what_we_write(self, tmp_path: Path) -> None:
        package = pytest.importorskip("safetensors")
        numpy = pytest.importorskip("safetensors.numpy")
        model = fl.Sequential([fl.Dense(3, dtype="float64", name="ä"), Mixed(dtype="float64")], input_shape=(2,))
        for write in (save, save_weights):
            write(model, tmp_path / "m")
            found = numpy.load_file(tmp_path / "m")
            assert found.keys() == model.named_parameters().keys()
            for name, parameter in model.named_parameters().items():
                assert found[name].dtype == parameter.dtype
                assert np.array_equal(found[name], parameter.value)
            with package.safe_open(tmp_path / "m", "np") as file:
                assert file.metadata()["fastlayers_format"] == "1"

    def test_we_read_what_the_safetensors_package_writes(self, tmp_path: Path, whole: bytes) -> None:
        package = pytest.importorskip("safetensors")
        numpy = pytest.importorskip("safetensors.numpy")
        (tmp_path / "m").write_bytes(whole)
        arrays = numpy.load_file(tmp_path / "m")
        with package.safe_open(tmp_path / "m", "np") as file:
            metadata = file.metadata()
        numpy.save_file(dict(reversed(arrays.items())), tmp_path / "n", metadata)
        assert (tmp_path / "n").read_bytes() != whole
        x = batch(3, 2, 4, 1)
        assert np.array_equal(load(tmp_path / "n")(x), small_model()(x))
        arrays["last/gamma"] += 1
        numpy.save_file(arrays, tmp_path / "changed", metadata)
        with pytest.raises(FileFormatError, match="changed by another program: its checksum is wrong"):
            load(tmp_path / "changed")
        numpy.save_file(arrays, tmp_path / "weights", {"format": "np"})
        model = small_model()
        assert load_weights(model, tmp_path / "weights").complete
        assert np.array_equal(model.layers[-1].gamma.value, [2, 2, 2])
        numpy.save_file({"a": np.zeros(3, np.int64)}, tmp_path / "ints")
        with pytest.raises(FileFormatError, match="'a' is of dtype 'I64'; F32 and F64 can be read"):
            load_weights(model, tmp_path / "ints", strict=False)

    def test_layout(self, whole: bytes, tmp_path: Path) -> None:
        header, arrays = split(whole)
        assert int.from_bytes(whole[:8], "little") % 8 == 0
        assert header["conv2d/kernel"] == {"dtype": "F32", "shape": [2, 2, 1, 2], "data_offsets": [0, 32]}
        assert np.array_equal(np.frombuffer(arrays[:32], "<f4"), small_model().layers[0].kernel.value.reshape(-1))
        assert len(arrays) == 4 * sum(parameter.size for parameter in small_model().parameters())
        save(small_model(), tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == whole
        mixed = fl.Sequential([Mixed()], input_shape=(1,))
        save_weights(mixed, tmp_path / "mixed")
        assert split((tmp_path / "mixed").read_bytes())[0]["mixed/extra/1"]["data_offsets"] == [0, 8]  # aligned

    def test_big_endian_machines_write_the_same(self, whole: bytes) -> None:
        written: list[bytes] = []
        safetensors.each_chunk(np.arange(3, dtype=">f4"), lambda chunk: written.append(bytes(chunk)))
        assert written == [np.arange(3, dtype="<f4").tobytes()]

    def test_arrays_larger_than_a_chunk(self, tmp_path: Path) -> None:
        model = fl.Sequential([fl.Dense(700), fl.Dense(3)], input_shape=(901,), dtype="float64", seed=1)
        raw = (save(model, tmp_path / "m"), (tmp_path / "m").read_bytes())[1]
        assert len(raw) > 5 * safetensors._CHUNK // 2
        again = read(raw, tmp_path / "n")
        assert again.layers[0].kernel.value.tobytes() == model.layers[0].kernel.value.tobytes()
        assert load_weights(again, tmp_path / "n", strict=False).complete


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_files_of_every_version_open(path: Path) -> None:
    assert [p.stem for p in VERSIONS] == [f"format_{version}" for version in content.FORMATS]
    assert path.stat().st_size < 10_000
    model, fresh = load(path), model_to_keep()
    assert [layer.name for layer in model.layers] == [layer.name for layer in fresh.layers]
    assert model.layers[2] is model.layers[4]
    assert model.get_config() == fresh.get_config()
    assert model.named_parameters().keys() == fresh.named_parameters().keys()
    for name, parameter in fresh.named_parameters().items():
        assert np.array_equal(model.named_parameters()[name].value, parameter.value)
        assert model.named_parameters()[name].trainable == parameter.trainable
    assert model(INPUTS).tolist() == OUTPUTS


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """The file with another header."""

    def edited(raw: bytes) -> bytes:
        header, arrays = split(raw)
        change(header)
        return joined(header, arrays)

    return edited


def put(name: str, key: str, value: Any) -> Callable[[bytes], bytes]:
    return edit(lambda header: header[name].update({key: value}))


def rename(old: str, new: str) -> Callable[[bytes], bytes]:
    return edit(lambda header: header.update({new: header.pop(old)}))


def replace(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """The header with some text replaced, its length right."""

    def replaced(raw: bytes) -> bytes:
        n = int.from_bytes(raw[:8], "little")
        text = raw[8 : 8 + n]
        assert old in text
        return joined(text.replace(old, new, 1), raw[8 + n :])

    return replaced


def beyond(place: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2**58], "data_offsets": [place, place + 2**60]}


BIAS = '"conv2d/bias": {"dtype": "F32", "shape": [2], "data_offsets": [32, 40]}'
ASTRAY = "cannot be the name of an array in a file"
DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda raw: b"", "it has 0 bytes"),
    "text": (lambda raw: b"this is a text and no file of weights", "not a safetensors file, or it is cut short"),
    "pickle": (lambda raw: b"\x80\x05}q\x00." + bytes(30), "not a safetensors file"),
    "zip": (lambda raw: b"PK\x03\x04" + bytes(100), "not a safetensors file"),
    "one byte short": (lambda raw: raw[:-1], "cut short or too long"),
    "one byte long": (lambda raw: raw + b"\0", "cut short or too long"),
    "half a header": (lambda raw: raw[:300], "cut short"),
    "huge header": (lambda raw: b"\xff" * 8 + raw[8:], "a header of 18,446,744,073,709,551,615"),
    "header of no length": (lambda raw: bytes(8) + raw[8:], "a header of 0"),
    "header longer than allowed": (lambda raw: joined(b"{" + b" " * 2**23, b""), "takes 8,388,609 bytes"),
    "header of spaces": (lambda raw: joined(b" " * 100, b""), "there is no header"),
    "header is a list": (lambda raw: joined(b"[]  ", b""), "there is no header"),
    "header is not JSON": (lambda raw: joined(b"{'a': 1}", b""), "its header is not JSON"),
    "two headers": (lambda raw: joined(b"{}{}", b""), "not JSON: Extra data"),
    "not UTF-8": (lambda raw: joined(b'{"\xff\xfe": 1}', b""), "its header is not UTF-8"),
    "half a character": (lambda raw: joined(b'{"a": "\\ud800"}', b""), "does not give dtype"),
    "half a character in a name": (lambda raw: joined(b'{"\\ud800": {}}', b""), ASTRAY),
    "deep": (lambda raw: joined(b'{"a":' + b"[" * 90_000 + b"]" * 90_000 + b"}", b""), "nested deeper than 100"),
    "less deep": (lambda raw: joined(b'{"a":' + b"[" * 120 + b"]" * 120 + b"}", b""), "nested deeper than 100"),
    "giant": (lambda raw: joined(b'{"a":[' + b"[]," * 2_000_000 + b"0]}", b""), "more than 200,000 values"),
    "giant in other letters": (
        lambda raw: joined('{"é😀":['.encode() + b"0," * 199_990 + b"0]}", b""),
        "does not give dtype, shape and data_offsets",
    ),
    "a name twice": (replace(b'"conv2d/kernel"', f'{BIAS}, "conv2d/kernel"'.encode()), "'conv2d/bias' twice"),
    "a key twice": (replace(b'"shape":[2,2,1,2]', b'"shape":[2,2,1,2],"shape":[8]'), "'shape' twice"),
    "one name of thousands twice": (
        lambda raw: joined(("{" + ",".join(f'"{i}":0' for i in [*range(3000), 77]) + "}").encode(), b""),
        "'77' twice",
    ),
    "long number": (replace(b"[0,32]", b"[0,32" + b"0" * 5000 + b"]"), "a number of 5,002 characters"),
    "NaN": (replace(b"[0,32]", b"[NaN,32]"), "holds NaN"),
    "Infinity": (replace(b"[0,32]", b"[0,-Infinity]"), "holds -Infinity"),
    "float": (put("conv2d/bias", "shape", [2.0]), r"'conv2d/bias' has the shape \[2.0\]"),
    "beyond float64": (replace(b"[0,32]", b"[0,1e999]"), "1e999, which is beyond float64"),
    "bool": (put("last/gamma", "shape", [3, True]), r"has the shape \[3, True\]"),
    "negative size": (put("conv2d/bias", "shape", [-1, -2]), r"has the shape \[-1, -2\]"),
    "negative offset": (put("conv2d/bias", "data_offsets", [-8, 0]), r"has the data_offsets \[-8, 0\]"),
    "offsets exchanged": (put("conv2d/bias", "data_offsets", [40, 32]), r"has the data_offsets \[40, 32\]"),
    "three offsets": (put("conv2d/bias", "data_offsets", [32, 36, 40]), "has the data_offsets"),
    "offsets beyond 64 bits": (put("conv2d/bias", "data_offsets", [32, 2**64 + 40]), "has the data_offsets"),
    "billions of elements": (put("conv2d/bias", "shape", [2**40]), "dtype float32 and 8 bytes"),
    "billions of bytes": (
        edit(lambda header: header["conv2d/bias"].update(shape=[2**40], data_offsets=[32, 32 + 2**42])),
        "'dense/kernel' overlaps another array",
    ),
    "billions at the end": (
        lambda raw: edit(lambda header: header.update(z=beyond(len(split(raw)[1]))))(raw),
        r"it has [\d,]+ bytes, and its arrays end at 1,152,921,504,606,85",
    ),
    "sizes that overflow": (put("conv2d/bias", "shape", [2**62, 2**62, 2]), "dtype float32 and 8 bytes"),
    "nothing times too much": (put("conv2d/bias", "shape", [0, 2**62, 2**62]), "dtype float32 and 8 bytes"),
    "too many axes": (put("conv2d/bias", "shape", [1] * 99 + [2]), "has the shape"),
    "overlap": (put("conv2d/bias", "data_offsets", [28, 36]), "overlaps another array"),
    "the same place": (put("conv2d/bias", "data_offsets", [0, 8]), "overlaps another array"),
    "hole": (lambda raw: edit(lambda header: header.pop("conv2d/bias"))(raw), "leaves a hole before it"),
    "integers": (put("conv2d/bias", "dtype", "I32"), "of dtype 'I32'; F32 and F64 can be read"),
    "half the bytes": (put("conv2d/bias", "dtype", "BF16"), "of dtype 'BF16'"),
    "another dtype": (put("conv2d/bias", "dtype", "F64"), "dtype float64 and 8 bytes"),
    "no dtype": (put("conv2d/bias", "dtype", ["F32"]), r"of dtype \['F32'\]"),
    "something more": (put("conv2d/bias", "offset", 3), "does not give dtype, shape and data_offsets"),
    "something less": (edit(lambda header: header["conv2d/bias"].pop("shape")), "does not give dtype"),
    "a folder above": (rename("conv2d/bias", "../../etc/passwd"), ASTRAY),
    "the root": (rename("conv2d/bias", "/etc/passwd"), ASTRAY),
    "another drive": (rename("conv2d/bias", "C:\\windows"), ASTRAY),
    "a byte of zero": (rename("conv2d/bias", "conv2d/bias\0"), ASTRAY),
    "a name without end": (rename("conv2d/bias", "b" * 100_000), ASTRAY),
    "no name": (rename("conv2d/bias", ""), ASTRAY),
    "another name": (rename("conv2d/bias", "conv2d/bios"), r"(?s)missing: conv2d/bias \(2,\).*unexpected: conv2d/bios"),
    "another shape": (put("conv2d/bias", "shape", [1, 2]), r"conv2d/bias is \(2,\) float32 in small, \(1, 2\) float32"),
    "metadata is a list": (edit(lambda header: header.update(__metadata__=[])), "does not map names to texts"),
    "metadata of numbers": (put("__metadata__", "fastlayers_format", 1), "does not map names to texts"),
    "of the future": (put("__metadata__", "fastlayers_format", "2"), r"format '2', written by fastlayers '\d.*reads 1"),
    "without a version": (edit(lambda header: header["__metadata__"].pop("fastlayers_format")), "format is missing"),
    "without checksum": (edit(lambda header: header["__metadata__"].pop("fastlayers_checksum")), "its metadata holds"),
    "with more of ours": (put("__metadata__", "fastlayers_more", ""), "its metadata holds .*more"),
    "with more of others": (put("__metadata__", "format", "np"), "its checksum is wrong"),
    "without metadata": (edit(lambda header: header.pop("__metadata__")), "holds weights without a model"),
    "another number": (lambda raw: raw[:-3] + bytes([raw[-3] ^ 64]) + raw[-2:], "its checksum is wrong"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_and_hostile_files_are_refused(damage: str, whole: bytes, tmp_path: Path) -> None:
    change, message = DAMAGE[damage]
    raw = change(whole)
    error = read(raw, tmp_path / "m", slack=40 * SLACK if damage.startswith("giant") else SLACK)
    assert isinstance(error, FileFormatError)
    assert str(error).startswith(f"{tmp_path / 'm'}: ")
    with pytest.raises(FileFormatError, match=message):
        raise error
    assert len(str(error)) < 1000
    if "without" not in damage and not damage.startswith("giant") and damage not in ("another name", "another shape"):
        assert isinstance(read(raw, tmp_path / "m", lambda path: load_weights(small_model(), path)), FileFormatError)


def model_of(raw: bytes) -> Any:
    return json.loads(split(raw)[0]["__metadata__"]["fastlayers_model"])


def described(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """The file with another description of its model, and a checksum that is right."""

    def changed(raw: bytes) -> bytes:
        model = model_of(raw)
        change(model)
        return sealed(model, raw)

    return changed


def config(place: int, **values: Any) -> Callable[[bytes], bytes]:
    return described(lambda model: model["layers"][place]["config"].update(values))


def state(path: str, **values: Any) -> Callable[[bytes], bytes]:
    return described(lambda model: model["states"][path].update(values))


def doubled(model: dict[str, Any]) -> None:
    """Sequentials that hold the one before twice: 2⁴⁰ layers in the end."""
    sequential = model["layers"][-1]
    model["layers"] = [{**sequential, "config": {"layers": []}}]
    for place in range(40):
        inside = [{"__layer__": place}, {"__layer__": place}]
        model["layers"].append({**sequential, "config": {"layers": inside, "input_shape": [3]}})
    model["model"] = 40


def same_again(model: dict[str, Any]) -> None:
    model["layers"][-1]["config"]["layers"][3] = {"same_as": 2}


def nested(model: dict[str, Any]) -> None:
    """Sequentials within Sequentials, 5,000 deep."""
    sequential = model["layers"][-1]
    model["layers"] = [{**sequential, "config": {"layers": []}}]
    for place in range(5000):
        model["layers"].append({**sequential, "config": {"layers": [{"__layer__": place}]}})
    model["model"] = 5000


def inline(model: dict[str, Any]) -> None:
    dense = {"class_name": "Dense", "config": {"units": 2}}
    model["layers"][-1]["config"]["layers"][2] = dense


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no model": (lambda raw: sealed("", raw), "its model is not JSON"),
    "a number": (lambda raw: sealed("1", raw), "not described by layers, model, states and frozen"),
    "deep": (lambda raw: sealed("[" * 10**5 + "]" * 10**5, raw), "its model is nested deeper"),
    "giant": (lambda raw: sealed("[" + "\\u002c" * 10 + "[]," * 110_000 + "0]", raw), "more than 200,000 values"),
    "infinite": (config(0, filters=float("inf")), "its model holds Infinity"),
    "NaN": (config(0, filters=float("nan")), "its model holds NaN"),
    "a key twice": (lambda raw: sealed('{"a":1,"a":2}', raw), "'a' twice in one object"),
    "layers are no list": (described(lambda model: model.update(layers={})), "its layers are not a list"),
    "states are no dict": (described(lambda model: model.update(states=[])), "states of its model"),
    "no such model": (described(lambda model: model.update(model=99)), "its model is layer 99 of 6"),
    "a layer that is none": (
        described(lambda model: model["layers"].insert(0, 3)),
        "holds 3 in the place of an object",
    ),
    "a class that is none": (
        described(lambda model: model["layers"][0].update({"class": ["Dense"]})),
        r"a class by the name \['Dense'\]",
    ),
    "unknown class": (
        described(lambda model: model["layers"][0].update({"class": "Dance", "module": "m", "qualname": "D"})),
        "m.D, registered as 'Dance': import m before loading",
    ),
    "a class that is no layer": (
        described(lambda model: model["layers"][1].update({"class": "initializers.Ones", "config": {}})),
        "'initializers.Ones' is in its table of layers and is none",
    ),
    "a class with odd letters": (described(lambda model: model["layers"][0].update(module="a\nb")), "by the name"),
    "another class": (described(lambda model: model["layers"][0].update({"class": "Dense"})), "cannot be made again"),
    "later layer": (config(5, layers=[{"__layer__": 5}]), "{'__layer__': 5}, which stands for nothing"),
    "negative layer": (config(5, layers=[{"__layer__": -1}]), "which stands for nothing"),
    "two meanings": (config(5, layers=[{"__layer__": 0, "__dict__": {}}]), "which stands for nothing"),
    "an unknown meaning": (config(5, layers=[{"__import__": "os"}]), "which stands for nothing"),
    "an object in the place of a layer": (config(5, layers=[3]), "3 in the place of an object"),
    "layers by the other notation": (described(inline), "in the place of an object"),
    "the same again": (described(same_again), "in the place of an object"),
    "exponentially many": (described(doubled), "uses more than 100,000 layers"),
    "very deep": (described(nested), "RecursionError"),
    "negative units": (config(2, units=-3), "units to be a positive int, got -3"),
    "billions of units": (config(2, units=10**12), r"more weights than the file has: dense asks for \(6, 10{12}\)"),
    "an argument too much": (config(2, unit=3), "TypeError"),
    "an argument too few": (described(lambda model: model["layers"][2].update(config={})), "TypeError"),
    "a config that is none": (described(lambda model: model["layers"][2].update(config=[])), "the config of 'Dense'"),
    "float64 all at once": (
        described(lambda model: [state.update(dtype="float64") for state in model["states"].values()]),
        r"mismatch: conv2d/kernel is \(2, 2, 1, 2\) float64 in small, \(2, 2, 1, 2\) float32 in the file",
    ),
    "another dtype": (state("dense", dtype="float64"), "mismatch: dense/kernel"),
    "no dtype": (state("dense", dtype="int8"), "TypeError: dense expects dtype"),
    "a state that is none": (described(lambda model: model["states"].update(dense=[])), "place of a layer's state"),
    "a name that is none": (state("dense", name=3), "has a layer with the state"),
    "a name for the terminal": (state("", name="\x1b[2J"), "has a layer with the state"),
    "a state for nobody": (
        described(lambda model: model["states"].update({"more": model["states"]["dense"]})),
        r"(?s)other layers in it:.*missing: 'more'",
    ),
    "a layer without state": (described(lambda model: model["states"].pop("dense")), "not in the file: 'dense'"),
    "negative shape": (state("", input_shape=[-2, 4, 1]), "expects an input shape"),
    "large shape": (state("", input_shape=[2**20, 2**20, 1]), "more weights than the file has"),
    "huge shape": (state("", input_shape=[2**40, 2**40, 1]), "cannot be addressed"),
    "deep shape": (state("", input_shape=[[[[2]]]]), "cannot be made again"),
    "another shape": (state("flatten", input_shape=[9]), "cannot be made again: ValueError: flatten was built for"),
    "unbuilt": (state("", input_shape=None), "RuntimeError: small is not built yet"),
    "frozen is no weight": (
        described(lambda model: model["frozen"].append("dense")),
        "'dense' is frozen and no weight",
    ),
    "frozen is a list": (described(lambda model: model["frozen"].append([])), r"\[\] is frozen and no weight"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_models_are_refused(case: str, whole: bytes, tmp_path: Path) -> None:
    change, message = HOSTILE[case]
    error = read(change(whole), tmp_path / "m", slack=40 * SLACK if case in ("giant", "very deep") else SLACK)
    assert isinstance(error, FileFormatError)
    with pytest.raises(FileFormatError, match=message):
        raise error
    assert len(str(error)) < 1500


def test_sealing_alone_changes_nothing(whole: bytes, tmp_path: Path) -> None:
    x = batch(3, 2, 4, 1)
    assert np.array_equal(read(sealed(model_of(whole), whole), tmp_path / "m")(x), small_model()(x))


class Mutations:
    """Ways to spoil a file, drawn at random."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def __call__(self, raw: bytes) -> bytes:
        ways = [
            self.flip,
            self.cut,
            self.swap,
            self.insert,
            self.repeat,
            self.number,
            self.number,
            self.text,
            self.length,
        ]
        for _ in range(self.random.integers(1, 4)):
            raw = ways[self.random.integers(len(ways))](raw)
        return raw

    def place(self, raw: bytes) -> int:
        """In the header twice as often as anywhere."""
        n = len(raw) if self.random.random() < 0.3 else min(len(raw), 8 + int.from_bytes(raw[:2], "little"))
        return int(self.random.integers(max(n, 1)))

    def flip(self, raw: bytes) -> bytes:
        i = self.place(raw)
        return raw[:i] + bytes([raw[i] ^ (1 << self.random.integers(8))]) + raw[i + 1 :] if raw else raw

    def cut(self, raw: bytes) -> bytes:
        i = self.place(raw)
        return raw[:i] + (raw[i + int(self.random.integers(1, 40)) :] if self.random.random() < 0.8 else b"")

    def swap(self, raw: bytes) -> bytes:
        i, j = sorted((self.place(raw), self.place(raw)))
        return raw[:i] + raw[j : j + 8] + raw[i + 8 : j] + raw[i : i + 8] + raw[j + 8 :]

    def insert(self, raw: bytes) -> bytes:
        i = self.place(raw)
        return raw[:i] + self.random.bytes(int(self.random.integers(1, 9))) + raw[i:]

    def repeat(self, raw: bytes) -> bytes:
        i, n = self.place(raw), int(self.random.integers(1, 200))
        return raw[:i] + raw[i : i + n] + raw[i:]

    def in_header(self, raw: bytes, what: bytes, others: list[bytes]) -> bytes:
        """One run of characters like `what` in the header replaced, the length of the header kept right."""
        n = int.from_bytes(raw[:8], "little")
        found = list(re.finditer(what, raw[8 : 8 + n]))
        if not found or n > len(raw):
            return raw
        one = found[self.random.integers(len(found))]
        header = raw[8 : 8 + one.start()] + others[self.random.integers(len(others))] + raw[8 + one.end() : 8 + n]
        return joined(header, raw[8 + n :])

    def number(self, raw: bytes) -> bytes:
        numbers = [
            b"0",
            b"1",
            b"-1",
            b"3",
            b"4294967296",
            b"18446744073709551616",
            b"1e400",
            b"2.5",
            b"NaN",
            b"9" * 200,
        ]
        return self.in_header(raw, rb"(?<![\w\"])\d+", numbers)

    def text(self, raw: bytes) -> bytes:
        texts = [b"F64", b"F32", b"relu", b"tanh", b"Dense", b"Layer", b"..", b"__layer__", b"\xff", b'","', b"null"]
        return self.in_header(raw, rb"[A-Za-z_]\w*", texts)

    def length(self, raw: bytes) -> bytes:
        n = int(self.random.choice([0, 1, 8, len(raw), 2**20, 2**31, 2**40, 2**63]))
        return struct.pack("<Q", n) + raw[8:]


def test_300_mutated_files_load_equal_or_are_refused(whole: bytes, tmp_path: Path) -> None:
    model, x, equal = small_model(), batch(3, 2, 4, 1), 0
    for seed in range(300):
        raw = Mutations(seed)(whole)
        again = read(raw, tmp_path / "m")
        if not isinstance(again, FileFormatError):
            equal += 1
            assert np.array_equal(again(x), model(x)), seed
            assert again.get_config() == model.get_config(), seed
            assert [p.trainable for p in again.parameters()] == [p.trainable for p in model.parameters()], seed
    assert equal < 60  # those that changed nothing in the end


def test_300_mutated_models_with_a_right_checksum_load_or_are_refused(whole: bytes, tmp_path: Path) -> None:
    refused = 0
    for seed in range(300):
        text = split(whole)[0]["__metadata__"]["fastlayers_model"].encode()
        mutated = Mutations(seed)(joined(text, b""))[8:]
        again = read(sealed(mutated.decode("utf-8", "replace"), whole), tmp_path / "m")
        refused += isinstance(again, FileFormatError)
        if not isinstance(again, FileFormatError):
            assert sum(p.size for p in again.parameters()) == sum(p.size for p in small_model().parameters())
    assert refused > 150
