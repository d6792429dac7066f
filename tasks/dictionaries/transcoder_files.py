"""From the name of a transcoder set to its dictionaries: which files it has, and whether they fit the model."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from safetensors import SafetensorError, safe_open
from torch import Tensor

from store.errors import BadInput, Damaged
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.transcoder import MEND_SET, Transcoder
from tasks.dictionaries.transcoder_config import Activation, SetConfig, read_config
from tasks.dictionaries.transcoder_hub import Hub, HubPlace, commit_of
from tasks.model.language_model import LanguageModel
from tasks.model.naming import own_name

PREFIX = "transcoder:"
"""How a set is named on the command line: transcoder:DIRECTORY, transcoder:CONFIG.yaml or transcoder:org/repo."""
_CONFIG = "config.yaml"
_LAYER_FILE = re.compile(r"layer_(\d+)\.safetensors")
_THRESHOLD = "activation_function.threshold"
_NEEDED = ("W_enc", "W_dec", "b_enc", "b_dec")
_KNOWN = (*_NEEDED, "W_skip", _THRESHOLD)
_DTYPES = ("BF16", "F16", "F32", "F64")
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".npz", ".npy")
_CONVERT = (
    "convert it where you trust it: circuit_tracer.utils.caching.save_transcoders_to_cache(NAME) writes safetensors,"
    " as does safetensors.torch.save_file"
)


def load_transcoder_set(spec: str, model: LanguageModel) -> DictionarySet:
    """The per-layer set that `spec` names: a directory, a config.yaml, or `org/repo[/folder][@revision]` on the hub.

    Its name is absolute, or pinned to the hub's commit, so that it means the same set later and elsewhere. Raises
    `BadInput` for what is no such set or does not fit the model, `Damaged` for unreadable files, `Missing` where the
    hub is needed and cannot be reached.
    """
    if not spec:
        raise BadInput(f"{PREFIX} names no transcoder set", "give a directory, a config.yaml or the hub's org/repo")
    path = Path(spec).expanduser()
    if path.exists():
        name, config, files = _local(path.resolve(), model)
    else:
        place = None if spec.startswith(("/", ".", "~")) else HubPlace.parse(spec)
        if place is None or path.suffix in (".yaml", ".yml"):
            raise BadInput(
                f"there is no transcoder set at {spec}", "give a directory, a config.yaml or the hub's org/repo"
            )
        name, config, files = _on_hub(place, model)
    layers = {layer: load_layer(file, layer, model, config) for layer, file in enumerate(files)}
    return DictionarySet(f"{PREFIX}{name}", layers, _notes(config, model))


def _local(path: Path, model: LanguageModel) -> tuple[str, SetConfig, Iterator[Path]]:
    if path.is_file() and path.suffix not in (".yaml", ".yml"):
        raise BadInput(f"{path} is no config of a transcoder set", f"name its directory or its {_CONFIG}")
    config_path = path / _CONFIG if path.is_dir() else path
    config = read_config(config_path, str(config_path), model)
    folder = config_path.parent
    if config.listed is not None:
        _check_count(str(path), set(range(len(config.listed))), model)
        hub = Hub()
        return str(path), config, (_listed_file(each, folder, hub) for each in config.listed)
    present = {entry.name for entry in folder.iterdir()}
    _check_layers(str(path), present, model)
    return str(path), config, (folder / f"layer_{layer}.safetensors" for layer in range(model.n_layers))


def _on_hub(place: HubPlace, model: LanguageModel) -> tuple[str, SetConfig, Iterator[Path]]:
    """Everything comes from the commit that the config was found at; a layer is fetched when it is its turn."""
    hub = Hub()
    found = hub.fetch(place.within(_CONFIG))
    config = read_config(found, f"{_CONFIG} of {place}", model)
    pinned = replace(place, revision=commit_of(place.within(_CONFIG), found))
    if config.listed is not None:
        _check_count(str(place), set(range(len(config.listed))), model)
        return str(pinned), config, (_listed_file(each, pinned, hub) for each in config.listed)
    names = hub.names_in(pinned)
    if names is not None:
        _check_layers(str(place), names, model)
    files = (pinned.within(f"layer_{layer}.safetensors") for layer in range(model.n_layers))
    return str(pinned), config, map(hub.fetch, files)


def _listed_file(entry: str, folder: Path | HubPlace, hub: Hub) -> Path:
    """The file that an entry of `transcoders:` names; relative paths are beside the config."""
    if PurePosixPath(entry.partition("?")[0]).suffix in _PICKLES:
        raise BadInput(f"the set lists {entry}, which is no safetensors file and could run code", _CONVERT)
    if entry.startswith("hf://"):
        place = HubPlace.parse(entry)
        if place is None or not place.path:
            raise BadInput(f"the set lists {entry}, which names no file", "write hf://org/repo/file[?revision=NAME]")
        return hub.fetch(place)
    if isinstance(folder, Path):
        path = folder / Path(entry).expanduser()
        if not path.is_file():
            raise BadInput(f"the set lists {entry} and there is no {path}", MEND_SET)
        return path
    if entry.startswith(("/", "~")) or ".." in PurePosixPath(entry).parts:
        raise BadInput(f"the set lists {entry}, which is outside its repository", MEND_SET)
    return hub.fetch(folder.within(entry))


def _check_layers(where: str, names: set[str], model: LanguageModel) -> None:
    """Refuse a set whose files are not layer_0 … layer_(n-1), for a model of n layers."""
    layers = {int(match[1]) for name in names if (match := _LAYER_FILE.fullmatch(name))}
    pickles = sorted(name for name in names if Path(name).suffix in _PICKLES)
    if not layers and pickles:
        raise BadInput(f"{where} holds {pickles[0]}, which is no safetensors file and could run code", _CONVERT)
    if not layers:
        raise BadInput(f"{where} holds no layer_0.safetensors", "name a directory with a per-layer transcoder set")
    missing = sorted(set(range(max(layers))) - layers)
    if missing:
        raise BadInput(f"{where} holds no layer_{missing[0]}.safetensors", MEND_SET)
    _check_count(where, layers, model)


def _check_count(where: str, layers: set[int], model: LanguageModel) -> None:
    if len(layers) < model.n_layers:
        absent = f"{where} has {len(layers)} layers, the model has {model.n_layers}: no layer_{len(layers)}.safetensors"
        raise BadInput(absent, f"use a set that was trained on {model.spec}, or get the rest of this one")
    if len(layers) > model.n_layers:
        raise BadInput(
            f"{where} has {len(layers)} layers, the model has {model.n_layers}",
            f"use a set that was trained on {model.spec}",
        )


def _notes(config: SetConfig, model: LanguageModel) -> tuple[str, ...]:
    """What the person should know: sibling checkpoints share sets on purpose, so another name is no error."""
    named, spec = config.model_name, model.spec
    if named is None or own_name(named) == own_name(spec):
        return ()
    return (f"this transcoder set was trained on {named}, the project's model is {spec}",)


def load_layer(path: Path, layer: int, model: LanguageModel, config: SetConfig) -> Transcoder:
    """The transcoder in `path`, its matrices mapped from disk rather than read.

    Raises `BadInput` for tensors that are not those of a transcoder for this model, `Damaged` for an unreadable file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            dtypes = {name: file.get_slice(name).get_dtype() for name in shapes}
            _check_tensors(path, shapes, dtypes, model)
            weights: dict[str, Tensor] = {name: file.get_tensor(name) for name in shapes}
    except OSError as error:
        raise Damaged(f"{path} cannot be read", MEND_SET) from error
    except SafetensorError as error:
        raise Damaged(f"{path} is not a readable safetensors file", MEND_SET) from error
    for name in ("b_enc", "b_dec", "W_skip", _THRESHOLD):
        if name in weights and not weights[name].isfinite().all():
            raise Damaged(f"{name} in {path} holds NaN or infinity", MEND_SET)
    n_features = shapes["W_enc"][0]
    if config.k is not None and config.k > n_features:
        raise BadInput(f"the set keeps the {config.k} largest of {n_features} features in {path}", "mend its k")
    return Transcoder(
        layer=layer,
        W_enc=weights["W_enc"],
        W_dec=weights["W_dec"],
        b_enc=weights["b_enc"],
        b_dec=weights["b_dec"],
        W_skip=weights.get("W_skip"),
        k=config.k,
        threshold=_threshold(path, weights.get(_THRESHOLD), n_features, config.activation),
        device=model.device,
    )


def _check_tensors(
    path: Path, shapes: dict[str, tuple[int, ...]], dtypes: dict[str, str], model: LanguageModel
) -> None:
    """Refuse a file whose tensors are not those of a transcoder for this model, from its header alone."""
    missing = [name for name in _NEEDED if name not in shapes]
    if missing:
        raise Damaged(f"{path} has no {', '.join(missing)}", "name a per-layer set in circuit-tracer's format")
    unknown = sorted(shapes.keys() - set(_KNOWN))
    if unknown:
        raise BadInput(f"{path} holds {unknown[0]}, which is not part of the format", "its meaning cannot be guessed")
    for name, dtype in dtypes.items():
        if dtype not in _DTYPES:
            raise BadInput(f"{name} in {path} is {dtype}", f"the supported types are {', '.join(_DTYPES)}")
    encoder, d_model = shapes["W_enc"], model.d_model
    if len(encoder) != 2 or encoder[0] == d_model != encoder[1]:
        raise BadInput(f"W_enc in {path} is {list(encoder)}", f"it has to be [n_features, {d_model}]")
    if encoder[1] != d_model:
        raise BadInput(
            f"W_enc in {path} reads d_model {encoder[1]}, the model has {d_model}",
            f"use a set that was trained on {model.spec}",
        )
    expected = {"W_dec": encoder, "b_enc": encoder[:1], "b_dec": (d_model,), "W_skip": (d_model, d_model)}
    for name, shape in expected.items():
        if name in shapes and shapes[name] != shape:
            raise BadInput(f"{name} in {path} is {list(shapes[name])} and must be {list(shape)}", MEND_SET)


def _threshold(path: Path, given: Tensor | None, n_features: int, activation: Activation | None) -> Tensor | None:
    """The JumpReLU threshold of every feature; a single number stands for all."""
    if given is None:
        if activation is Activation.JUMPRELU:
            raise BadInput(f"the set's activation is jumprelu and {path} has no {_THRESHOLD}", MEND_SET)
        return None
    if activation not in (None, Activation.JUMPRELU):
        raise BadInput(f"the set's activation is {activation} and {path} holds {_THRESHOLD}", "mend its config.yaml")
    if given.numel() not in (1, n_features) or given.dim() > 1:
        raise BadInput(f"{_THRESHOLD} in {path} is {list(given.shape)} and must be [{n_features}]", MEND_SET)
    return given.reshape(-1).expand(n_features)
