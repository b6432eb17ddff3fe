"""What a program of `torch.export` may say, looked at before PyTorch reads a word of it.

`torch.export.load` evaluates the expressions of symbolic shapes, runs the code of guards, imports
modules that a tree of arguments names, writes names of values into Python source, and looks its
operators up by name. So PyTorch gets a copy that holds nothing but what was looked at here: words
without any sign in them, integers, expressions of a short list, operators of a short list, and
tensors that are not pickled.
"""

import ast
import io
import json
import math
import os
import pathlib
import re
import zipfile
from collections.abc import Mapping
from typing import Any

from mia_jax.runtime import bounds, storage
from mia_jax.runtime.errors import MissingError, UserError, shorten

_MODEL = "models/model.json"
_WEIGHTS, _CONSTANTS = "data/weights/", "data/constants/"
_CONFIGS = {
    _WEIGHTS: (f"{_WEIGHTS}model_weights_config.json", re.compile(r"weight_\d+")),
    _CONSTANTS: (f"{_CONSTANTS}model_constants_config.json", re.compile(r"tensor_\d+")),
}
_PLAIN = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}
_VERSION = ".data/version"
_SAMPLES = "data/sample_inputs/model.pt"

_WORD = re.compile(r"-?[A-Za-z0-9_.]*")
_SAYING = re.compile(r"[A-Za-z0-9_.,:;+<>=() /*\[\]-]{0,200}")  # No quotes, and nothing escaped.
_OPERATORS = re.compile(
    r"torch\.ops\.aten\.(?!\w*(file|storage|save|print|warn))([a-z]\w*|_[a-z]\w*|__(and|or|xor)__)\.[A-Za-z]\w*"
    r"|torch\.ops\.higher_order\.wrap_with_set_grad_enabled"
    r"|torch\.sym_(int|float|max|min|not|ite|sqrt|sum)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pos|pow|eq|ne|ge|gt|le|lt|and_|or_|getitem)"
    r"|math\.(ceil|floor|trunc|sqrt)"
)
_COUNTED = re.compile(r"torch\.ops\.aten\.\w*(arange|linspace|logspace|eye|indices|perm|window)")
_FUNCTIONS = ("Add", "Mul", "Max", "Min", "FloorDiv", "CeilDiv", "Mod", "PythonMod", "Integer")
# What sympy reads as Python does: it drops line ends, which would end a comment or a string.
_WRITTEN = re.compile(r"[\w (),'+*/=-]*", re.ASCII)
_SIZES = ("as_ints", "as_sym_ints", "sizes")
_SYMBOL = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv)
_ASSUMED = ("positive", "integer", "nonnegative")
_LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
_CONTAINERS = ("builtins.tuple", "builtins.list", "builtins.dict")
_LONGEST = 2000  # Characters of an expression.
_LARGEST = 2**63


def copied(path: str | os.PathLike[str]) -> io.BytesIO:
    """Copies a program, if it says nothing that could run.

    Args:
      path: The file.

    Returns:
      An archive of the same program in memory, for `torch.export.load`: without whatever PyTorch
      does not need, such as example inputs and where in its source each step comes from.

    Raises:
      MissingError: If the file is missing.
      UserError: If it is damaged, or says anything else, naming what.
    """
    if not pathlib.Path(path).is_file():
        raise MissingError(f"{path} does not exist: name a file of a model")
    try:
        with zipfile.ZipFile(path) as archive:
            return _copied(str(path), archive)
    except UserError:
        raise
    except Exception as error:  # zipfile, json and what is of another type than it should be.
        raise UserError(
            f"{path} is no whole program of torch.export ({type(error).__name__}: "
            f"{shorten(str(error))})"
        ) from error


def _copied(path: str, archive: zipfile.ZipFile) -> io.BytesIO:
    """Copies what belongs to the program, once it is looked at."""
    members = [each for each in archive.infolist() if not each.is_dir()]
    bounds.check_unpacked(path, members)
    names = {each.filename.partition("/")[2]: each for each in members}
    _check_names(path, names)
    program = storage.parse_json(archive.read(names[_MODEL]).decode())
    _check_program(path, program)
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as clean:
        clean.writestr(f"model/{_MODEL}", json.dumps(_without_metadata(program)))
        for folder, (config, pattern) in _CONFIGS.items():
            payload = storage.parse_json(archive.read(names[config]).decode())
            clean.writestr(f"model/{config}", json.dumps(payload))
            for file in sorted(_payload(path, folder, config, pattern, payload, names)):
                clean.writestr(f"model/{folder}{file}", archive.read(names[f"{folder}{file}"]))
        for name, content in _PLAIN.items():
            if name in names and archive.read(names[name]).strip() != content:
                raise UserError(
                    f"{path} has another {name} than {content.decode()}: export it anew"
                )
            clean.writestr(f"model/{name}", content)
        clean.writestr(f"model/{_VERSION}", archive.read(names[_VERSION])[:8])
        clean.writestr(f"model/{_SAMPLES}", b"")
    copy.seek(0)
    return copy


def _check_names(path: str, names: Mapping[str, Any]) -> None:
    """Refuses an archive that is of another kind, or holds what is pickled or compiled."""
    for name in names:
        last = pathlib.PurePosixPath(name).name
        if "custom_obj" in last or "opaque" in last or name.endswith((".pkl", ".pickle")):
            raise _pickled(path, name)
        if "aotinductor" in name:
            raise UserError(
                f"{path} holds machine code ({name}): export the model with torch.export.save"
            )
    needed = [_MODEL, _VERSION, *(config for config, _ in _CONFIGS.values())]
    lacking = [name for name in needed if name not in names]
    if lacking:
        raise UserError(
            f"{path} is no whole program of torch.export (it lacks {lacking[0]}): export it with "
            "PyTorch 2.9 or newer, or to ONNX"
        )


def _pickled(path: str, name: str) -> UserError:
    """Says what is pickled."""
    return UserError(
        f"{path} holds pickled objects ({name}), which may run any code when they are read: "
        "export the model with torch.export.save without custom objects, or to ONNX"
    )


def _refused(path: str, what: str, found: Any) -> UserError:
    """Says what may run, or is not known not to."""
    return UserError(
        f"{path} has {what} that may run code ({shorten(ascii(found))}): export the model to ONNX, "
        "or say --trust_model if you know who made it"
    )


def _payload(
    path: str, folder: str, config: str, pattern: re.Pattern[str], payload: Any, names: Any
) -> set[str]:
    """Names the files of tensors; refuses what is pickled, or declares more than it holds."""
    files = set()
    for name, each in payload["config"].items():
        file, meta = each["path_name"], each["tensor_meta"]
        if each["use_pickle"] or meta is None:
            raise _pickled(path, config)
        _check_text(path, "", name)
        _check_value(path, "", each)
        if not pattern.fullmatch(file) or f"{folder}{file}" not in names:
            raise UserError(f"{path} lacks {shorten(ascii(file))}, which {config} names")
        count = math.prod(side["as_int"] for side in meta["sizes"])
        if not 0 <= count <= names[f"{folder}{file}"].file_size:
            raise UserError(f"{path} declares {count} numbers of {name}, and holds fewer bytes")
        files.add(file)
    return files


def _check_program(path: str, program: Any) -> None:
    """Refuses a program that says anything which may run."""
    if program.get("guards_code"):
        raise _refused(path, "a guard", program["guards_code"][0])
    if program["graph_module"].get("treespec_namedtuple_fields"):
        raise _refused(path, "arguments of a type", "namedtuple")
    try:
        _check_value(path, "", _without_metadata(program))
    except RecursionError:
        raise UserError(f"{path} is no whole program of torch.export (it is too deep)") from None


def _without_metadata(value: Any) -> Any:
    """Drops what says where in a source a step comes from: PyTorch looks up names in it."""
    if isinstance(value, dict):
        return {
            name: {} if name == "metadata" else _without_metadata(each)
            for name, each in value.items()
        }
    return [_without_metadata(each) for each in value] if isinstance(value, list) else value


def _check_value(path: str, key: str, value: Any) -> None:
    """Looks at every word and number of a program; `key` says what it is of."""
    if isinstance(value, dict):
        if _COUNTED.match(str(value.get("target"))):
            for each in value["inputs"]:
                bounds.check_elements(path, [abs(each["arg"].get("as_int") or 0)])
        for name, each in value.items():
            _check_text(path, "", name)
            if name in ("as_custom_obj", "custom_obj"):
                raise _refused(path, "an object", each)
            _check_value(path, name, each)
    elif isinstance(value, list):
        for each in value:
            _check_value(path, key, each)
        if key in _SIZES:
            sizes = [each.get("as_int") if isinstance(each, dict) else each for each in value]
            bounds.check_elements(path, [abs(each) for each in sizes if isinstance(each, int)])
    elif isinstance(value, str):
        _check_text(path, key, value)
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise _refused(path, "a number", value)


def _check_text(path: str, key: str, text: str) -> None:
    """Refuses a text that is not of the short list of what it is of."""
    if key in ("target", "as_operator"):
        if not _OPERATORS.fullmatch(text):
            raise _refused(path, "an operator", text)
    elif key == "expr_str":
        if not _is_expression(text):
            raise _refused(path, "an expression", text)
    elif key in ("in_spec", "out_spec"):
        if not _is_tree_of_arguments(text):
            raise _refused(path, "a tree of arguments", text)
    elif not (_SAYING if key in ("as_string", "as_strings", "torch_version") else _WORD).fullmatch(
        text
    ):
        raise _refused(path, "a name", text)


def _is_expression(text: str) -> bool:
    """Tells whether a text is arithmetic of symbols and integers."""
    if len(text) > _LONGEST or not _WRITTEN.fullmatch(text):
        return False
    try:
        return _is_arithmetic(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_arithmetic(node: ast.expr) -> bool:
    """Tells the same of a part of it."""
    match node:
        case ast.Constant(value=int() as number):
            return abs(number) < _LARGEST
        case ast.Name(id=name):
            return bool(_SYMBOL.fullmatch(name)) and "__" not in name
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _is_arithmetic(operand)
        case ast.BinOp(left=left, op=operation, right=right):
            return (
                isinstance(operation, _ARITHMETIC)
                and _is_arithmetic(left)
                and _is_arithmetic(right)
            )
        case ast.Call(
            func=ast.Name(id="Symbol"), args=[ast.Constant(value=str() as name)], keywords=given
        ):
            return bool(_SYMBOL.fullmatch(name)) and all(
                each.arg in _ASSUMED
                and isinstance(each.value, ast.Constant)
                and isinstance(each.value.value, bool)
                for each in given
            )
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]):
            return name in _FUNCTIONS and all(_is_arithmetic(part) for part in parts)
    return False


def _is_tree_of_arguments(text: str) -> bool:
    """Tells whether a tree of arguments is of tuples, lists and dictionaries of plain names."""
    match json.loads(text) if text else [1, _LEAF]:
        case [1, tree]:
            return _is_tree(tree)
    return False


def _is_tree(tree: Any) -> bool:
    """Tells the same of a part of it."""
    if tree == _LEAF:
        return True
    if not isinstance(tree, dict) or tree.keys() != _LEAF.keys() or tree["type"] not in _CONTAINERS:
        return False
    names = json.loads(tree["context"])
    plain = names is None or (
        isinstance(names, list)
        and all(isinstance(name, str) and _WORD.fullmatch(name) for name in names)
    )
    return plain and all(_is_tree(child) for child in tree["children_spec"])
