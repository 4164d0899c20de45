"""Every fast path against the plain modules, and the engine's manners towards its caller."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zeroshot.checkpoint.weights import Weights
from zeroshot.engine import Engine, choose_dtype, device
from zeroshot.engine.cpu import attention, convolution, linear, prefix_trees, workers
from zeroshot.engine.cpu.text import FastTextTransformer
from zeroshot.errors import InputError, NonFiniteError
from zeroshot.nn.network import Network
from zeroshot.spec import Activation, NetworkConfig, ResNetConfig, TextConfig, ViTConfig

CPU = torch.device("cpu")
EXACT = 2e-6  # of a unit embedding's length, float32
CLOSE = 2e-2  # the same in bfloat16, whose numbers have 8 bits, for these wild random weights


def network_of(config: NetworkConfig, seed: int = 0) -> Network:
    """Build a network whose embeddings differ clearly from input to input."""
    random = torch.Generator().manual_seed(seed)
    network = Network(config)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            values = torch.randn(tensor.shape, generator=random)
            if ("attnpool" in name and tensor.ndim == 1) or "attnpool.positional" in name:
                values *= 0.02  # lest what every image shares outweighs what it shows
            elif tensor.ndim >= 2 and "embedding" not in name:
                values /= tensor[0].numel() ** 0.5
            elif name.endswith("running_var"):
                values = values.abs() + 0.5
            elif "ln_" in name or "bn" in name or "downsample" in name:
                values = 0.1 * values + name.endswith("weight")
            tensor.copy_(values)
    return network.eval().requires_grad_(False)


def engine_of(
    network: Network,
    config: NetworkConfig,
    device: torch.device,
    dtype: torch.dtype,
    *,
    plain: bool = False,
) -> Engine:
    return Engine(Weights.of_network(network, config), config, device, dtype, plain=plain)


def vit(activation: Activation = "quick_gelu", heads: int = 2, layers: int = 3) -> NetworkConfig:
    return NetworkConfig(
        20,
        ViTConfig(40, 8, 48, layers, heads, 192, activation),
        TextConfig(77, 600, 32, layers, heads, 128, activation),
    )


RESNET = NetworkConfig(
    24, ResNetConfig(64, 16, (1, 2, 1, 1), 8), TextConfig(77, 600, 32, 2, 2, 128, "quick_gelu")
)
CONFIGS = {
    "quick_gelu": vit(),
    "gelu": vit("gelu"),
    "gelu_tanh": vit("gelu_tanh"),
    "heads of 12": vit(heads=4),
    "one layer": vit(layers=1),
    "resnet": RESNET,
}


@pytest.fixture(scope="module", params=CONFIGS)
def config(request: pytest.FixtureRequest) -> NetworkConfig:
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def network(config: NetworkConfig) -> Network:
    return network_of(config)


@pytest.fixture(params=["packed", "attention written out", "plain operators"])
def operators(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with torch's private operators, and as on a torch that lacks them."""
    if request.param == "packed":
        assert linear.can_pack(torch.float32) or not torch.backends.mkldnn.is_available()
    elif request.param == "attention written out":
        monkeypatch.setattr(attention, "is_unfused_faster", lambda dtype: True)
        monkeypatch.setattr(attention, "SCORES", 2**10)  # so that heads are taken in parts, too
    else:
        monkeypatch.setattr(linear, "can_pack", lambda dtype: False)
        monkeypatch.setattr(convolution, "can_pack", lambda dtype: False)


def pixels(config: NetworkConfig, count: int) -> torch.Tensor:
    """Draw images that differ in colour, not in noise only."""
    size = config.vision.image_size
    random = torch.Generator().manual_seed(count)
    colours = 2 * torch.randn(count, 3, 1, 1, generator=random)
    return colours + torch.randn(count, 3, size, size, generator=random)


def rows(config: NetworkConfig, lengths: list[int], seed: int = 0) -> list[list[int]]:
    """Draw token rows of these lengths, start and end included."""
    random = torch.Generator().manual_seed(seed)
    end = config.text.vocab_size - 1
    return [
        [end - 1, *torch.randint(0, end - 1, (n - 2,), generator=random).tolist(), end]
        for n in lengths
    ]


def worst(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm(dim=1).max())


@pytest.mark.parametrize("count", [1, 3, 257])
def test_fast_image_towers_equal_the_plain_ones(
    network: Network, config: NetworkConfig, operators: None, count: int
) -> None:
    batch = pixels(config, count)
    plain = engine_of(network, config, CPU, torch.float32, plain=True).encode_pixels(batch)

    found = engine_of(network, config, CPU, torch.float32).encode_pixels(batch)

    assert worst(plain, plain.roll(1, 0)) > 0.1 or count == 1  # the inputs do differ
    assert worst(found, plain) < EXACT


@pytest.mark.parametrize(
    "lengths",
    [[3], [77], [2, 77, 3], [5] * 257, list(range(2, 78))],
    ids=["one token", "full context", "mixed", "257 alike", "every length"],
)
def test_the_fast_text_tower_equals_the_plain_one(
    network: Network, config: NetworkConfig, operators: None, lengths: list[int]
) -> None:
    texts = rows(config, lengths)
    plain = engine_of(network, config, CPU, torch.float32, plain=True).encode_ids(texts)

    found = engine_of(network, config, CPU, torch.float32).encode_ids(texts)

    assert worst(found, plain) < EXACT


@pytest.mark.parametrize("repeated", [1, 10_000], ids=["kept", "in trees"])
def test_a_shared_beginning_changes_nothing(
    network: Network,
    config: NetworkConfig,
    operators: None,
    monkeypatch: pytest.MonkeyPatch,
    repeated: int,
) -> None:
    monkeypatch.setattr(prefix_trees, "REPEATED", repeated)
    end = config.text.vocab_size - 1
    beginnings = [[end - 1, 7, 8], [end - 1, 7, 8, 9, 4], [end - 1, 3]]
    labels = rows(config, [3 + n % 5 for n in range(300)])
    texts = [begin + label[1:] for begin in beginnings for label in labels]
    plain = engine_of(network, config, CPU, torch.float32, plain=True).encode_ids(texts)

    found = engine_of(network, config, CPU, torch.float32).encode_ids(texts)

    prefixes = {batch.prefix for batch in prefix_trees.plan(list(map(tuple, texts)))}
    assert len(prefixes) >= 3 if repeated == 1 else prefixes == {()}
    assert worst(found, plain) < EXACT


@pytest.mark.skipif(not linear.can_pack(torch.bfloat16), reason="no bfloat16 on this CPU")
def test_bfloat16_is_close_to_float32(network: Network, config: NetworkConfig) -> None:
    batch, texts = pixels(config, 11), rows(config, [3, 9, 30, 77])
    plain = engine_of(network, config, CPU, torch.float32, plain=True)
    engine = engine_of(network, config, CPU, torch.bfloat16)

    assert worst(engine.encode_ids(texts), plain.encode_ids(texts)) < 5 * CLOSE
    assert worst(engine.encode_pixels(batch), plain.encode_pixels(batch)) < 5 * CLOSE


def test_results_do_not_depend_on_the_batch(network: Network, config: NetworkConfig) -> None:
    engine = engine_of(network, config, CPU, torch.float32)
    batch = pixels(config, 19)
    together = engine.encode_pixels(batch)

    assert worst(torch.cat([engine.encode_pixels(one[None]) for one in batch]), together) < EXACT
    assert worst(engine.encode_pixels(batch, batch_size=5), together) < EXACT


@pytest.mark.skipif(not linear.can_pack(torch.bfloat16), reason="no bfloat16 on this CPU")
def test_an_image_alone_is_embedded_as_among_others_in_bfloat16(
    network: Network, config: NetworkConfig
) -> None:
    engine = engine_of(network, config, CPU, torch.bfloat16)
    batch = pixels(config, 19)
    together = engine.encode_pixels(batch)

    alone = torch.cat([engine.encode_pixels(one[None]) for one in batch])

    assert worst(alone, together) < CLOSE / 20  # far less than bfloat16 is off by


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_images_and_no_texts_are_no_embeddings(
    network: Network, config: NetworkConfig, dtype: torch.dtype
) -> None:
    engine = engine_of(network, config, CPU, dtype)

    assert engine.encode_pixels(pixels(config, 0)).shape == (0, config.embed_dim)
    assert engine.encode_ids([]).shape == (0, config.embed_dim)


def test_unnormalised_embeddings_have_the_length_of_the_plain_ones(
    network: Network, config: NetworkConfig
) -> None:
    batch = pixels(config, 3)
    plain = engine_of(network, config, CPU, torch.float32, plain=True)
    wanted = plain.encode_pixels(batch, normalize=False)

    found = engine_of(network, config, CPU, torch.float32).encode_pixels(batch, normalize=False)

    assert float(((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max()) < 1e-5


def test_equal_texts_are_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIGS["quick_gelu"]
    engine = engine_of(network_of(config), config, CPU, torch.float32)
    one, other = rows(config, [5, 6])
    run: list[int] = []
    real = FastTextTransformer.run
    monkeypatch.setattr(
        FastTextTransformer,
        "run",
        lambda self, batch, *rest: run.append(len(batch.texts)) or real(self, batch, *rest),
    )

    found = engine.encode_ids([one, other, one, one])

    assert sum(run) == 2
    assert torch.equal(found[0], found[2])
    assert not torch.allclose(found[0], found[1], atol=1e-2)


@given(
    st.lists(
        st.lists(st.integers(0, 2), max_size=5).map(lambda ids: (8, *ids, 9)),
        min_size=1,
        max_size=400,
        unique=True,
    )
)
def test_a_plan_runs_every_text_once_and_whole(texts: list[tuple[int, ...]]) -> None:
    batches = prefix_trees.plan(texts)

    seen: list[tuple[int, tuple[int, ...]]] = []
    for batch in batches:
        for tree in batch.trees:
            own = [()] * (len(tree.tokens) + 1)  # what leads to the token last seen at each depth
            for place, (token, depth) in enumerate(zip(tree.tokens, tree.depths, strict=True)):
                own[depth + 1] = (*own[depth], token)
                if place in tree.ends:
                    which = tree.texts[tree.ends.index(place)]
                    seen.append((which, batch.prefix + own[depth + 1]))
    assert sorted(seen) == list(enumerate(texts))
    assert [text for batch in batches for text in batch.texts] == [which for which, _ in seen]
    if len(batches) == len(batches[0].trees) == 1:
        beginnings = {row[:length] for row in texts for length in range(1, len(row) + 1)}
        assert len(batches[0]) == len(beginnings)  # none is computed twice


@pytest.mark.parametrize("count", [30, 100, 500])
@pytest.mark.parametrize(("shared", "own"), [(73, 2), (60, 10), (30, 5), (5, 4)])
def test_a_long_beginning_is_not_computed_for_every_text(count: int, shared: int, own: int) -> None:
    texts = [(8, *range(100, 99 + shared), *range(n, n + own), 9) for n in range(200, 200 + count)]
    needed = shared + count * (own + 1)

    batches = prefix_trees.plan(texts, 2)

    run = len({batch.prefix for batch in batches} - {()}) * shared + sum(map(len, batches))
    assert needed <= run < 1.25 * needed
    assert needed > prefix_trees.ALONE or len(batches) == len(batches[0].trees) == 1


def test_short_and_long_texts_are_not_padded_to_one_length() -> None:
    short = [(8, 2 * n, 9) for n in range(340)]
    long = [(8, 2 * n + 1, *range(1000 * n, 1000 * n + 74), 9) for n in range(340)]

    batches = prefix_trees.plan(short + long, 2)

    assert max(map(len, batches)) < 2 * prefix_trees.TOKENS
    assert sum(map(len, batches)) < 1.1 * sum(map(len, short + long))


@pytest.mark.parametrize("length", [3, 14, 40])
def test_a_text_that_is_not_finite_spoils_no_other(length: int) -> None:
    config = CONFIGS["quick_gelu"]
    network = network_of(config)
    with torch.no_grad():
        network.text.token_embedding.weight[7] = 3e38  # finite, and overflows in the first layer
    texts = [[598, *range(10 + n, 8 + n + length), 599] for n in range(20)]
    bad = [598, *range(100, 97 + length), 7, 599]

    with pytest.raises(NonFiniteError) as caught:
        engine_of(network, config, CPU, torch.float32).encode_ids([*texts, bad, *texts])

    assert caught.value.rows == [20]


def test_non_finite_embeddings_are_an_error_that_names_the_rows() -> None:
    config = CONFIGS["quick_gelu"]
    engine = engine_of(network_of(config), config, CPU, torch.float32)
    batch = pixels(config, 3)
    batch[1] = torch.inf

    with pytest.raises(NonFiniteError) as caught:
        engine.encode_pixels(batch)

    assert caught.value.rows == [1]


def test_the_callers_torch_settings_stay(network: Network, config: NetworkConfig) -> None:
    def seen_by_a_new_thread() -> int:
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return seen[0]

    before = torch.get_num_threads(), seen_by_a_new_thread(), torch.is_grad_enabled()

    engine_of(network, config, CPU, torch.float32).encode_pixels(pixels(config, 40))

    assert (torch.get_num_threads(), seen_by_a_new_thread(), torch.is_grad_enabled()) == before


@pytest.mark.skipif(torch.get_num_threads() < 2, reason="one core needs no workers")
def test_a_worker_computes_on_one_core() -> None:
    def threads_used(_: int) -> int:
        torch.zeros(1000, 1000).bfloat16()  # large enough for torch to divide it
        return torch.get_num_threads()

    assert set(workers.run(threads_used, range(20))) == {1}


def test_workers_keep_order_and_pass_errors_on() -> None:
    def work(n: int) -> int:
        if n == 70:
            raise KeyError(n)
        return n * n

    assert workers.run(work, range(50)) == [n * n for n in range(50)]
    with pytest.raises(KeyError, match="70"):
        workers.run(work, range(100))


def test_operators_that_compute_wrongly_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def __getattr__(self, name: str) -> object:
            return lambda x, *rest: torch.zeros_like(x)

    monkeypatch.setattr(torch.ops, "mkldnn", Wrong())

    assert not linear.can_pack.__wrapped__(torch.float32)
    assert not convolution.can_pack.__wrapped__(torch.float32)


def test_operators_that_are_missing_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", object())

    assert not linear.can_pack.__wrapped__(torch.float32)
    assert not convolution.can_pack.__wrapped__(torch.float32)


def test_a_cpu_without_bfloat16_gets_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: False)

    assert choose_dtype(None, CPU) is torch.float32


def test_a_cpu_with_bfloat16_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: True)

    assert choose_dtype(None, CPU) is torch.bfloat16


@pytest.mark.parametrize(
    ("has", "dtype", "unfused"),
    [
        (["AVX512-BF16"], torch.bfloat16, True),
        (["AVX512-BF16"], torch.float32, False),
        (["AVX512-BF16", "AMX"], torch.bfloat16, False),
        ([], torch.bfloat16, False),
    ],
)
def test_attention_is_unfused_faster_where_that_was_measured_to_be_faster(
    monkeypatch: pytest.MonkeyPatch,
    has: list[str],
    dtype: torch.dtype,
    unfused: bool,
) -> None:
    monkeypatch.setattr(attention, "cpu_has", has.__contains__)

    assert attention.is_unfused_faster(dtype) is unfused


def test_an_unknown_precision_or_device_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(InputError, match="float32, bfloat16, float16"):
        choose_dtype("int3", CPU)
    with pytest.raises(InputError, match="try 'cpu'"):
        device.choose_device("toaster")


@pytest.mark.parametrize("inside", [[], [7], [7, 8, 9]])
def test_a_text_that_spells_out_the_end_token_is_pooled_at_the_first(inside: list[int]) -> None:
    config = CONFIGS["quick_gelu"]
    network, end = network_of(config), config.text.vocab_size - 1
    texts = [[end - 1, *inside, end, 5, 6, end]]
    plain = network.text(torch.tensor(texts))  # as OpenAI's code, at the first of the largest ids

    found = engine_of(network, config, CPU, torch.float32).encode_ids(texts, normalize=False)

    assert torch.allclose(found, plain, atol=1e-5)


def test_the_callers_defaults_and_autocast_change_nothing() -> None:
    config = CONFIGS["quick_gelu"]
    network, texts, batch = network_of(config), rows(config, [3, 9]), pixels(config, 3)
    engine = engine_of(network, config, CPU, torch.float32)
    wanted = engine.encode_ids(texts), engine.encode_pixels(batch)
    again = engine_of(network, config, CPU, torch.float32)

    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
            found = again.encode_ids(texts), again.encode_pixels(batch)
    finally:
        torch.set_default_dtype(torch.float32)

    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_an_engine_can_be_copied_and_pickled() -> None:
    config = CONFIGS["quick_gelu"]
    engine = engine_of(network_of(config), config, CPU, torch.float32)
    texts = rows(config, [3, 9])
    wanted = engine.encode_ids(texts)

    assert torch.equal(copy.deepcopy(engine).encode_ids(texts), wanted)
    assert torch.equal(pickle.loads(pickle.dumps(engine)).encode_ids(texts), wanted)


def test_without_more_threads_the_work_is_done_in_the_callers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers, "_pool", None)
    monkeypatch.setattr(threading.Thread, "start", refused)

    assert workers.run(lambda n: n + 1, [1, 2, 3]) == [2, 3, 4]


FORKED = """
import os, sys, zeroshot
model = zeroshot.load(sys.argv[1], dtype="float32")
if sys.argv[2] == "after":
    model.encode_text(["a", "b"]); model.encode_image([sys.argv[3]] * 20)
stream = model.classifier(["a", "b"]).stream([sys.argv[3]] * 200)
next(stream)
child = os.fork()
if child == 0:
    model.encode_text("c"); model.encode_image(sys.argv[3]); model.encode_image([sys.argv[3]] * 20)
    stream.close()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_forked_child_works_and_ends(tiny_path: Path, photos: list[Path], when: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(tiny_path), when, str(photos[0])], timeout=60
    )

    assert done.returncode == 0


COLLECTED = """
import gc, sys, zeroshot
model = zeroshot.load(sys.argv[1], dtype="float32")
classifier = model.classifier(["a", "b"])
class Holder:
    def __init__(self, workers):
        self.stream, self.me = classifier.stream([sys.argv[2]] * 500, workers=workers), self
def collect(n):
    gc.collect()
    return n
from zeroshot.engine.cpu import workers
for threads in (None, 2):
    for _ in range(3):
        holder = Holder(threads)
        next(holder.stream)
        del holder
        workers.run(collect, range(8))  # the collector closes the stream in a worker
print(len(model.encode_image([sys.argv[2]] * 20)))
"""


def test_a_stream_that_the_collector_closes_in_a_worker_hangs_nothing(
    tiny_path: Path, photos: list[Path]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLLECTED, str(tiny_path), str(photos[0])],
        timeout=90,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout) == (0, "20\n"), done.stderr
