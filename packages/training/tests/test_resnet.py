import pytest
import torch
from conftest import count_macs
from safetensors.torch import save_file

from raccoon_training.resnet import ResNet, ResNetClassifier, fold_batch_norms, load_resnet, normalise


def torchvision_layout(depth: int, classes: int = 1000) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's state dict, written out from its documentation rather than from our classes."""
    blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}[depth]
    layout: dict[str, tuple[int, ...]] = {}

    def conv(name: str, c_out: int, c_in: int, kernel: int) -> None:
        layout[f"{name}.weight"] = (c_out, c_in, kernel, kernel)

    def norm(name: str, channels: int) -> None:
        for key in ("weight", "bias", "running_mean", "running_var"):
            layout[f"{name}.{key}"] = (channels,)
        layout[f"{name}.num_batches_tracked"] = ()

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    channels = 64
    for layer, count in enumerate(blocks, 1):
        width = 32 * 2**layer
        for block in range(count):
            name = f"layer{layer}.{block}"
            out = 4 * width if depth == 50 else width
            kernels = (1, 3, 1) if depth == 50 else (3, 3)
            widths = (channels, width, width, out) if depth == 50 else (channels, width, width)
            for i, kernel in enumerate(kernels, 1):
                conv(f"{name}.conv{i}", widths[i], widths[i - 1], kernel)
                norm(f"{name}.bn{i}", widths[i])
            if block == 0 and channels != out:
                conv(f"{name}.downsample.0", out, channels, 1)
                norm(f"{name}.downsample.1", out)
            channels = out
    layout["fc.weight"], layout["fc.bias"] = (classes, channels), (classes,)
    return layout


def random_state(depth: int, classes: int = 1000) -> dict[str, torch.Tensor]:
    """A file of that layout, of random but harmless values."""
    state = {}
    for name, shape in torchvision_layout(depth, classes).items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            state[name] = torch.rand(shape) + 0.5
        else:
            state[name] = torch.randn(shape) / max(1, torch.Size(shape[1:]).numel()) ** 0.5
    return state


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_layout_is_torchvisions(depth):
    with torch.device("meta"):
        state = ResNet(depth).state_dict()
    assert {name: tuple(w.shape) for name, w in state.items()} == torchvision_layout(depth)


@pytest.mark.parametrize(
    ("depth", "parameters", "gmacs"), [(18, 11_689_512, 1.814), (34, 21_797_672, 3.664), (50, 25_557_032, 4.089)]
)
def test_size_of_the_networks(depth, parameters, gmacs):
    """torchvision's documentation prints these parameters and GFLOPS (one per multiply-accumulate)."""
    with torch.device("meta"):
        network = ResNet(depth)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert count_macs(network, 3, 224, 224) == pytest.approx(gmacs * 1e9, rel=1e-3)


@pytest.mark.parametrize(("depth", "suffix"), [(50, "pth"), (18, "safetensors")])
def test_a_file_in_torchvisions_layout_loads(tmp_path, depth, suffix):
    state, path = random_state(depth), tmp_path / f"resnet.{suffix}"
    (torch.save if suffix == "pth" else save_file)(state, path)
    network = load_resnet(path)
    assert network.depth == depth and not network.training
    assert not any(p.requires_grad for p in network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_checkpoints_of_a_training_run_load(tmp_path):
    """Under `model` and with the prefix that DDP adds."""
    state = random_state(18, classes=5)
    torch.save({"model": {f"module.{name}": w for name, w in state.items()}, "epoch": 3}, tmp_path / "last.pt")
    network = load_resnet(tmp_path / "last.pt")
    assert torch.equal(network.fc.weight, state["fc.weight"])


def test_stem_and_tail_are_the_network(generator):
    network = ResNet(18, classes=7).eval()
    x = torch.randn(2, 3, 64, 64, generator=generator)
    features = network.stem(x)
    logits, tapped = network.tail(features)
    assert features.shape == (2, 64, 16, 16) and network.feature_channels == 64
    assert [tuple(t.shape) for t in tapped] == [(2, 128, 8, 8), (2, 256, 4, 4), (2, 512, 2, 2)]
    assert torch.equal(logits, network(x))
    classifier = network.classifier().eval()
    assert type(classifier) is ResNetClassifier
    assert torch.equal(classifier(features), logits)
    classifier.fc.bias.data += 1  # a copy: the unsplit network does not learn with it
    assert torch.equal(logits, network(x))


def test_resnet50_features():
    with torch.device("meta"):
        features = ResNet(50).stem(torch.empty(1, 3, 224, 224))
    assert features.shape == (1, 256, 56, 56)  # what PaperDecoder makes of a 28 x 28 latent


def test_normalised_as_torchvision_does(generator):
    pixels = torch.randint(256, (2, 3, 4, 4), dtype=torch.uint8, generator=generator)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (pixels / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(normalise(pixels), expected)


@pytest.mark.parametrize("depth", [18, 50])
def test_folded_batch_norms_compute_the_same(generator, depth):
    network = ResNet(depth, classes=5)
    network.load_state_dict(random_state(depth, classes=5))
    network.eval()
    folded = fold_batch_norms(network)
    x = torch.randn(1, 3, 64, 64, generator=generator)
    torch.testing.assert_close(folded(x), network(x), rtol=1e-3, atol=1e-3)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())


def test_files_that_are_something_else(tmp_path, random_weights):
    def saved(name: str, content: object):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    with pytest.raises(ValueError, match=r"mobilenet.safetensors: no ResNet-18, 34 or 50"):
        load_resnet(random_weights)
    state = random_state(18, classes=3)
    truncated = {name: w for name, w in state.items() if not name.startswith("layer1")}
    with pytest.raises(ValueError, match=r"is no whole ResNet-18: has no layer1.0.bn1.bias"):
        load_resnet(saved("truncated.pth", truncated))
    with pytest.raises(ValueError, match=r"has extra.weight, which does not belong there"):
        load_resnet(saved("extra.pth", state | {"extra.weight": torch.zeros(1)}))
    with pytest.raises(ValueError, match=r"conv1.weight is \(64, 1, 7, 7\) where \(64, 3, 7, 7\) belongs"):
        load_resnet(saved("grey.pth", state | {"conv1.weight": torch.zeros(64, 1, 7, 7)}))
    with pytest.raises(ValueError, match="has no state dict"):
        load_resnet(saved("list.pth", [1, 2]))
    with pytest.raises(ValueError, match="save only its state dict"):
        load_resnet(saved("pickle.pth", {"model": state, "optimiser": torch.optim.SGD}))
    for suffix in ("pth", "safetensors"):
        (tmp_path / f"cut.{suffix}").write_bytes(b"")
        with pytest.raises(ValueError, match="cut"):
            load_resnet(tmp_path / f"cut.{suffix}")
    with pytest.raises(ValueError, match=r"there is no file .*missing.pth: give the weights"):
        load_resnet(tmp_path / "missing.pth")
    with pytest.raises(ValueError, match="no ResNet-101 here"):
        ResNet(101)
