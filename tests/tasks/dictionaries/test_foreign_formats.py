"""SAEs of SAELens and sparsify: what the peers wrote reads back as they meant it, what we write is what they read."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from store.errors import BadInput, Damaged
from tasks.corpora.tokens import TokenBatch
from tasks.dictionaries.faithfulness import measure_recovery
from tasks.dictionaries.formats.saelens import hook_name, read_saelens, write_saelens
from tasks.dictionaries.formats.set_directory import read_set, write_set
from tasks.dictionaries.formats.sparsify import folder_name, read_sparsify, write_sparsify
from tasks.dictionaries.formats.weight_files import Shape
from tasks.dictionaries.quality import QualityMeter
from tasks.dictionaries.sae import SparseAutoencoder
from tasks.model.hidden import hidden_states
from tasks.model.language_model import LanguageModel
from tests.oracle.sae_formats import generate

ORACLE = Path(generate.__file__).parent
SHAPE = Shape(d_mlp=48, n_layers=3, model="tiny:llama")
WRITTEN_BY_SAELENS = sorted(path.name.removesuffix(".oracle.safetensors") for path in ORACLE.glob("*.oracle.*"))
KINDS = ("relu", "topk", "jumprelu")


def autoencoder(kind: str, layer: int = 1, seed: int = 0, width: int = 48, n_features: int = 24) -> SparseAutoencoder:
    """A random one whose pre-activations are of the size of one."""
    draw = torch.Generator().manual_seed(seed)
    shapes = ((n_features, width), (n_features,), (n_features, width), (width,))
    w_enc, b_enc, w_dec, b_dec = (torch.randn(shape, generator=draw) * width**-0.5 for shape in shapes)
    threshold = torch.rand(n_features, generator=draw) * 0.5 if kind == "jumprelu" else None
    k = 5 if kind == "topk" else None
    return SparseAutoencoder(layer, w_enc, b_enc, w_dec, b_dec, k, n_features, threshold=threshold)


def evaluated_autoencoder() -> SparseAutoencoder:
    """The one that SAELens evaluated: neither dead nor perfect on the tiny model's layer 1."""
    sae = autoencoder("topk", seed=3)
    return replace(sae, k=8, W_dec=0.7 * sae.W_enc / sae.W_enc.norm(dim=1, keepdim=True) ** 2)


def rows(n: int = 16, width: int = 48) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(1))


def folder_of(name: str) -> Path:
    return next(path.parent for path in (ORACLE / name).rglob("cfg.json"))


def copied(name: str, tmp_path: Path) -> Path:
    folder = folder_of(name)
    return Path(shutil.copytree(folder, tmp_path / folder.name))


def edited(folder: Path, **changes: Any) -> Path:
    path = folder / "cfg.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        where = config["metadata"] if key == "hook_name" and "metadata" in config else config
        where[key] = value
    path.write_text(json.dumps(config))
    return folder


def test_given_the_oracle_then_every_architecture_is_in_it() -> None:
    assert len(WRITTEN_BY_SAELENS) == 11


@pytest.mark.parametrize("name", WRITTEN_BY_SAELENS)
def test_given_what_a_peer_wrote_when_read_then_z_and_the_reconstruction_are_the_peers(name: str) -> None:
    oracle = load_file(ORACLE / f"{name}.oracle.safetensors")
    (foreign,) = read_set(ORACLE / name, SHAPE)
    assert foreign.layer == 1
    z = foreign.autoencoder.encode(oracle["x"])
    assert 0 < int((z > 0).sum()) < z.numel()
    torch.testing.assert_close(z, oracle["z"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(foreign.autoencoder.decode(z), oracle["x_hat"], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("peer", ["saelens", "sparsify"])
def test_given_what_we_write_when_a_peer_loads_it_then_its_z_and_reconstruction_are_ours(peer: str) -> None:
    """The peer's answers are stored; that the files are still those it read is the round trip's business."""
    read = load_file(ORACLE / f"read_by_{peer}.safetensors")
    kinds = {name.partition(".")[0] for name in read}
    assert kinds == (set(KINDS) if peer == "saelens" else {"topk"})
    for kind in kinds:
        sae = autoencoder(kind)
        z = sae.encode(rows())
        torch.testing.assert_close(read[f"{kind}.z"], z, rtol=0, atol=1e-6)
        torch.testing.assert_close(read[f"{kind}.x_hat"], sae.decode(z), rtol=0, atol=2e-6)


@given(seed=st.integers(0, 1000), kind=st.sampled_from(KINDS))
def test_given_any_sae_when_exported_to_saelens_and_read_again_then_it_is_the_same_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kind: str
) -> None:
    sae = autoencoder(kind, seed=seed)
    folder = tmp_path_factory.mktemp("set") / hook_name(1)
    write_saelens(sae, folder, "tiny:llama")
    back = read_saelens(folder, SHAPE)
    assert back.model_name == "tiny:llama"
    assert torch.equal(back.autoencoder.encode(rows()), sae.encode(rows()))
    assert torch.equal(back.autoencoder.decode(sae.encode(rows())), sae.decode(sae.encode(rows())))
    assert (back.autoencoder.k, back.layer) == (sae.k, sae.layer)


@given(seed=st.integers(0, 1000))
def test_given_a_topk_sae_when_exported_to_sparsify_and_read_again_then_z_is_the_same_to_1e_6(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    sae = autoencoder("topk", seed=seed)
    folder = tmp_path_factory.mktemp("set") / folder_name(1)
    write_sparsify(sae, folder, "tiny:llama")
    back = read_sparsify(folder, SHAPE).autoencoder
    assert (back.pre_activation(rows()) - sae.pre_activation(rows())).abs().max() <= 1e-6
    assert torch.equal(back.W_dec, sae.W_dec) and back.k == sae.k


@pytest.mark.parametrize("kind", ["relu", "jumprelu"])
def test_given_an_sae_that_is_not_topk_when_exported_to_sparsify_then_it_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(BadInput, match="sparsify has nothing else; export it with --format saelens"):
        write_set({1: autoencoder(kind)}, tmp_path / "set", "sparsify", "tiny:llama")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format_name", ["saelens", "sparsify"])
def test_given_a_set_of_layers_when_written_and_read_then_every_layer_comes_back(
    tmp_path: Path, format_name: Any
) -> None:
    saes = {layer: autoencoder("topk", layer, layer) for layer in (0, 2)}
    folders = write_set(saes, tmp_path / "set", format_name, "tiny:llama")
    assert [folder.is_dir() for folder in folders] == [True, True]
    back = {foreign.layer: foreign for foreign in read_set(tmp_path / "set", SHAPE)}
    assert sorted(back) == [0, 2]
    (only,) = read_set(tmp_path / "set", SHAPE, [2])
    torch.testing.assert_close(only.autoencoder.encode(rows()), saes[2].encode(rows()), rtol=0, atol=1e-6)
    with pytest.raises(BadInput, match="has no SAE of layer 1; its layers are"):
        list(read_set(tmp_path / "set", SHAPE, [1]))
    with pytest.raises(BadInput, match="exists"):
        write_set(saes, tmp_path / "set", format_name, "tiny:llama")


def test_given_a_config_of_saelens_5_when_read_then_it_means_the_same(tmp_path: Path) -> None:
    folder = copied("topk", tmp_path)
    now = read_saelens(folder, SHAPE).autoencoder
    old = {
        "architecture": "standard",
        "d_in": 48,
        "d_sae": 24,
        "hook_name": hook_name(1),
        "model_name": "tiny",
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": 5},
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "finetuning_scaling_factor": False,
    }
    (folder / "cfg.json").write_text(json.dumps(old))
    then = read_saelens(folder, SHAPE)
    assert then.model_name == "tiny"
    assert torch.equal(then.autoencoder.encode(rows()), now.encode(rows()))


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "another hook": ("topk", {"hook_name": "blocks.1.hook_resid_post"}, r"blocks\.1\.hook_resid_post, and this"),
    "an MLP's output": ("topk", {"hook_name": "blocks.1.hook_mlp_out"}, r"is of blocks\.1\.hook_mlp_out"),
    "a layer that the model lacks": ("topk", {"hook_name": hook_name(3)}, "layer 3 and tiny:llama has 3 layers"),
    "layer norm": ("topk", {"normalize_activations": "layer_norm"}, "'layer_norm', which no fixed weights"),
    "a norm a token": ("topk", {"normalize_activations": "constant_norm_rescale"}, "no fixed weights can stand for"),
    "whitening": ("topk", {"normalize_activations": "covariance_whitening"}, "covariance_whitening"),
    "a scale that is not there": (
        "topk", {"normalize_activations": "expected_average_only_in"}, "no activation_scaler.json"),
    "attention heads": ("topk", {"reshape_activations": "hook_z"}, "reshapes its input"),
    "a temporal SAE": ("topk", {"architecture": "temporal"}, "'temporal'; the supported ones are standard, topk"),
    "a training checkpoint": ("topk", {"architecture": "batchtopk"}, "training checkpoint .*save_inference_model"),
    "k larger than features": ("topk", {"k": 25}, "the 25 largest of 24 features"),
    "no k": ("topk", {"k": None}, "k in .* is None; it has to be a positive whole number"),
    "another width": ("topk", {"d_in": 32}, "reads 32 numbers and h of tiny:llama has 48"),
    "a fine-tuning factor": ("standard", {"finetuning_scaling_factor": True}, "fold it into W_dec"),
    "a sparsify transcoder": ("sparsify", {"transcode": True}, "holds a transcoder"),
    "a sparsify skip": ("sparsify", {"skip_connection": True}, "holds a transcoder"),
    "groupmax": ("sparsify", {"activation": "groupmax"}, "'groupmax'; only topk"),
    "a sparsify hook of another place": ("sparsify", {"hook_name": hook_name(2)}, "says that it is of blocks.2"),
    "sparsify's k": ("sparsify", {"k": 25}, "the 25 largest of 24 features"),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_given_an_sae_that_cannot_stand_for_h_when_read_then_it_is_refused_by_name(tmp_path: Path, fault: str) -> None:
    name, changes, said = REFUSED[fault]
    with pytest.raises(BadInput, match=said):
        list(read_set(edited(copied(name, tmp_path), **changes), SHAPE))


def test_given_a_sparsify_folder_of_another_module_when_read_then_it_is_refused_by_name(tmp_path: Path) -> None:
    shutil.copytree(folder_of("sparsify"), tmp_path / "layers.1")
    with pytest.raises(BadInput, match=r"is of layers\.1, and this workbench's SAEs are of layers\.L\.mlp"):
        list(read_set(tmp_path, SHAPE))


def test_given_two_saes_of_one_layer_when_read_then_both_are_named(tmp_path: Path) -> None:
    for name in ("topk", "standard"):
        shutil.copytree(folder_of(name), tmp_path / name)
    with pytest.raises(BadInput, match="are both of layer 1; import one of the two"):
        list(read_set(tmp_path, SHAPE))


@pytest.mark.parametrize("name", ["ae.pt", "sae.pth", "pytorch_model.bin", "weights.pkl"])
def test_given_a_pickle_when_read_then_it_is_refused_and_the_way_to_convert_it_is_told(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04never read")
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(BadInput, match=f"{name} is no safetensors file and could run code; convert it"):
            list(read_set(place, SHAPE))


@pytest.mark.parametrize("fault", ["truncated", "no weights", "shape", "extra", "missing", "nan", "type", "json"])
def test_given_damaged_files_when_read_then_the_file_is_named(tmp_path: Path, fault: str) -> None:
    folder = copied("topk", tmp_path)
    weights = folder / "sae_weights.safetensors"
    tensors = load_file(weights)
    if fault == "shape":
        tensors["W_enc"] = tensors["W_enc"].T.contiguous()
    elif fault == "extra":
        tensors["scaling_factor"] = torch.ones(24)
    elif fault == "missing":
        del tensors["b_enc"]
    elif fault == "nan":
        tensors["b_dec"][3] = torch.nan
    elif fault == "type":
        tensors["b_dec"] = tensors["b_dec"].long()
    save_file(tensors, weights)
    if fault == "truncated":
        weights.write_bytes(weights.read_bytes()[:-9])
    elif fault == "json":
        (folder / "cfg.json").write_text("[1]")
    elif fault == "no weights":
        weights.write_bytes(b"")
    with pytest.raises(BadInput, match=r"cfg\.json" if fault == "json" else r"sae_weights\.safetensors") as raised:
        list(read_set(tmp_path, SHAPE))
    assert isinstance(raised.value, Damaged) is (fault not in ("shape", "extra", "type"))


def test_given_half_precision_weights_when_read_then_they_become_float32(tmp_path: Path) -> None:
    folder = copied("topk", tmp_path)
    exact = read_saelens(folder, SHAPE).autoencoder
    tensors = load_file(folder / "sae_weights.safetensors")
    save_file({name: t.bfloat16() for name, t in tensors.items()}, folder / "sae_weights.safetensors")
    half = read_saelens(folder, SHAPE).autoencoder
    assert half.W_enc.dtype == torch.float32
    torch.testing.assert_close(half.W_enc, exact.W_enc, rtol=2**-8, atol=0)


def test_given_an_empty_place_when_read_then_what_belongs_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no SAE; name a directory with cfg\.json beside sae_weights"):
        list(read_set(tmp_path, SHAPE))
    with pytest.raises(BadInput, match="there is no"):
        list(read_set(tmp_path / "nowhere", SHAPE))


def test_given_saelens_own_evaluation_when_the_same_sae_is_measured_then_the_numbers_are_the_same(
    tiny_model: Callable[[str], LanguageModel],
) -> None:
    """What both define: SAELens leaves special tokens alone, we the first position, and here they are the same."""
    said = json.loads((ORACLE / "evaluation.json").read_text())
    model, sae, tokens = tiny_model("llama"), evaluated_autoencoder(), generate.windows()
    mask = torch.ones_like(tokens, dtype=torch.bool)
    h = hidden_states(model, tokens, mask, [1])[1][:, 1:].flatten(0, 1)
    meter = QualityMeter(sae, model.layers[1].down.weight.detach())
    meter.add(h)
    quality = meter.quality()
    assert quality.explained_variance == pytest.approx(said["reconstruction_quality"]["explained_variance"], abs=1e-5)
    assert quality.l0_mean == pytest.approx(said["sparsity"]["l0"], abs=1e-6)
    assert quality.shrinkage == pytest.approx(said["shrinkage"]["l2_ratio"], abs=1e-5)
    dead = sum(density == 0 for density in said["feature_density"]) / sae.n_features
    assert quality.dead_share == pytest.approx(dead)
    windows = TokenBatch(tokens, mask, torch.zeros_like(tokens), torch.zeros_like(tokens))
    ((recovery,), _) = _recoveries(model, sae, meter, windows)
    kept = said["model_performance_preservation"]
    assert recovery.ce_clean == pytest.approx(kept["ce_loss_without_sae"], abs=1e-5)
    assert recovery.ce["replaced"] == pytest.approx(kept["ce_loss_with_sae"], abs=1e-5)
    assert recovery.kl["replaced"] == pytest.approx(said["kl_between_second_and_last"], abs=1e-5)


def _recoveries(model: LanguageModel, sae: SparseAutoencoder, meter: QualityMeter, windows: TokenBatch) -> Any:
    by_layer, joint = measure_recovery(model, {1: sae}, {1: meter.mean()}, [windows], lambda _n: None)
    return list(by_layer.values()), joint
