"""Tests of the report's figures: portraits, curves, and what they are drawn with."""

import io

import numpy as np
import pytest
from PIL import Image

from mia_jax.report import curves, portraits, primitives

RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
PURPLE, CYAN = (0.5, 0.0, 0.5), (0.0, 1.0, 1.0)


def plain(color, height=16, width=16):
    return np.broadcast_to(np.asarray(color, np.float32), (height, width, len(color)))


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def area(pixels, color):
    """The share of pixels of a color, and where it is: (row, column), each in [0, 1]."""
    same = (np.abs(pixels - 255 * np.asarray(color)) < 12).all(-1)
    rows, columns = np.nonzero(same)
    where = (rows.mean() / len(pixels), columns.mean() / pixels.shape[1]) if len(rows) else None
    return same.mean(), where


def cmc(ranks=14, **people):
    falling = np.linspace(0.2, 1, ranks)
    yardsticks = dict.fromkeys(("mean", "seeds", "mean_face", "others", "ceiling"), falling)
    return curves.cmc_curves(people or {"a": falling, "b": falling**2}, **yardsticks)


def histories(steps=30):
    step = np.arange(steps) * 10
    sparse = np.where(step % 100 == 0, 0.5, np.nan)
    return {
        "step": step,
        "training_loss": np.exp(-step / 100),
        "validation_loss": sparse,
        "validation_accuracy": sparse,
    }


def portrait(channels=3, **options):
    clone = portraits.Clone(plain(GREEN[:channels]), 0.8, 1)
    pick = portraits.Clone(plain(BLUE[:channels]), 0.1, 7)
    seed, other = (portraits.Clone(plain(color[:channels]), 0.1, 9) for color in (PURPLE, CYAN))
    return portraits.Portrait("s1", plain(RED[:channels]), clone, pick, seed, other, **options)


ALL = {
    "clone_grid": lambda: portraits.clone_grid(
        plain(RED), np.stack([plain(GREEN)] * 25), np.ones(25), np.ones(25, int), "s1"
    ),
    "best_clones": lambda: portraits.best_clones([portrait()] * 5),
    "seed_figure": lambda: portraits.seed_figure(plain(RED)[None]),
    "cmc_curves": cmc,
    "training_curves": lambda: curves.training_curves(
        {"target": histories(), "evaluator": histories(20)}
    ),
    "loss_traces": lambda: curves.loss_traces(
        np.arange(20), {"a": np.linspace(5, -5, 20) + np.zeros((8, 1))}
    ),
}


@pytest.mark.parametrize("name", ALL)
def test_every_figure_is_a_valid_png_with_reproducible_bytes(name):
    first, second = primitives.png(ALL[name]()), primitives.png(ALL[name]())
    assert first == second
    assert first.startswith(b"\x89PNG") and b"Software" not in first and b"tIME" not in first
    assert decoded(first).std() > 0


@pytest.mark.parametrize("channels", [1, 3])
def test_image_png_keeps_every_pixel(channels):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, channels))
    back = np.asarray(Image.open(io.BytesIO(primitives.image_png(image / 255))))
    np.testing.assert_array_equal(back.reshape(image.shape), image)


def test_image_png_clips_and_blackens_what_is_no_intensity():
    image = np.asarray([[-1.0, 2.0, np.nan, 0.5]])[..., None]
    back = np.asarray(Image.open(io.BytesIO(primitives.image_png(image))))
    np.testing.assert_array_equal(back, [[0, 255, 0, 128]])


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (4, 4, 4), (1, 4, 4, 3)])
def test_image_png_rejects_other_shapes(shape):
    with pytest.raises(ValueError, match="image must be"):
        primitives.image_png(np.zeros(shape))


@pytest.mark.parametrize("count", [1, 8, 25])
def test_clone_grid_shows_every_clone_and_the_photograph_at_the_bottom_left(count):
    clones = np.stack([plain(GREEN)] * count)
    pixels = decoded(
        primitives.png(
            portraits.clone_grid(plain(RED), clones, np.ones(count), np.ones(count, int), "s1")
        )
    )
    photograph, (row, column) = area(pixels, RED)
    shown, _ = area(pixels, GREEN)
    assert row > 0.45 and column < 0.35
    assert shown / photograph == pytest.approx(count / 4, rel=0.15)  # twice as wide as a clone


def test_clone_grid_shows_each_clone_as_given():
    levels = np.linspace(0.2, 0.8, 25)
    clones = np.broadcast_to(levels[:, None, None, None], (25, 16, 16, 1))
    pixels = decoded(
        primitives.png(portraits.clone_grid(plain((0.0,)), clones, levels, np.arange(25), "s1"))
    )
    for level in levels:
        assert (np.abs(pixels - 255 * level) < 1).all(-1).mean() > 0.01


@pytest.mark.parametrize("channels", [1, 3])
def test_grids_take_tall_gray_and_color_images(channels):
    color = (0.3,) * channels
    clones = np.stack([plain(color, 20, 16)] * 3)
    figure = portraits.clone_grid(plain(color, 20, 16), clones, np.ones(3), np.ones(3, int), "s1")
    assert area(decoded(primitives.png(figure)), (0.3,) * 3)[0] > 0.2
    assert area(decoded(primitives.png(portraits.seed_figure(clones))), (0.3,) * 3)[0] > 0.8


@pytest.mark.parametrize("ranks, scores", [(2, 3), (3, 2)])
def test_clone_grid_rejects_numbers_that_do_not_match(ranks, scores):
    with pytest.raises(ValueError, match="must be \\[3\\]"):
        portraits.clone_grid(
            plain(RED), np.stack([plain(RED)] * 3), np.ones(scores), np.ones(ranks), "s1"
        )


def test_best_clones_puts_the_person_above_the_best_clone_above_the_pick():
    pixels = decoded(primitives.png(portraits.best_clones([portrait(nearest=plain((1, 1, 0)))])))
    heights = [area(pixels, color)[1][0] for color in (RED, GREEN, BLUE, PURPLE, CYAN, (1, 1, 0))]
    assert heights == sorted(heights)


def test_best_clones_of_one_person_alone_have_no_clones_of_others():
    with_others, alone = (
        decoded(primitives.png(portraits.best_clones([each])))
        for each in (portrait(), portrait()._replace(other=None))
    )
    assert alone.shape[0] < with_others.shape[0]


@pytest.mark.parametrize("people", [1, 6, 7])
def test_best_clones_shows_everybody(people):
    pixels = decoded(primitives.png(portraits.best_clones([portrait()] * people)))
    shares = [area(pixels, color)[0] for color in (RED, GREEN, BLUE)]
    assert min(shares) == pytest.approx(max(shares), rel=0.02) and min(shares) > 0.05


@pytest.mark.parametrize("ranks", [1, 2, 14, 2046])
@pytest.mark.parametrize("people", [1, 5, 20])
def test_cmc_curves_takes_any_number_of_ranks_and_people(ranks, people):
    axes = cmc(ranks, **{f"s{i}": np.linspace(0.1, 1, ranks) for i in range(people)}).axes[0]
    assert len(axes.lines) == people + 6  # mean, ceiling, three controls, chance
    assert all(len(line.get_xdata()) == ranks for line in axes.lines)
    assert axes.lines[0].get_xdata()[0] == 1


def test_cmc_curves_says_whose_curve_has_the_wrong_length():
    with pytest.raises(ValueError, match=r"'late'.*14"):
        cmc(14, late=np.ones(13))


@pytest.mark.parametrize("name", ["_hidden", "$x^2", "$a$ <b> & %", "n" * 200])
def test_names_are_drawn_verbatim_whatever_they_hold(name):
    figure = cmc(14, **{name: np.ones(14)})
    assert primitives.png(figure)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown[0] in (name, name[:23] + "…")
    clones = np.stack([plain(RED)])
    assert primitives.png(portraits.clone_grid(plain(RED), clones, np.ones(1), np.ones(1), name))
    assert primitives.png(portraits.best_clones([portrait()._replace(name=name)]))
    assert primitives.png(curves.loss_traces([0, 1], {name: np.ones((2, 2))}))


def test_training_curves_joins_sparse_measurements_and_keeps_lengths_apart():
    figure = curves.training_curves({"target": histories(30), "evaluator": histories(20)})
    validation = figure.axes[0].lines[1]
    np.testing.assert_array_equal(validation.get_xdata(), [0, 100, 200])
    assert len(figure.axes[0].lines[0].get_xdata()) == 30
    assert len(figure.axes[1].lines[0].get_xdata()) == 20


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_training_curves_shows_every_recognizer(count):
    names = [f"evaluator {i}" for i in range(count)]
    figure = curves.training_curves(dict.fromkeys(names, histories()))
    titled = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in titled] == names
    assert sum(len(axes.lines) for axes in figure.axes) == 3 * count
    assert all(axes.lines or not axes.axison for axes in figure.axes)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["training loss", "validation loss", "validation accuracy"]


def test_training_curves_takes_what_was_never_measured():
    history = histories() | {"validation_loss": np.full(30, np.nan)}
    assert primitives.png(curves.training_curves({"target": history}))


def test_training_curves_rejects_a_vector_of_another_length():
    with pytest.raises(ValueError, match="training_loss of 'target'"):
        curves.training_curves({"target": histories() | {"training_loss": np.ones(3)}})


def test_loss_traces_draws_the_median_of_the_restarts_that_still_run():
    trace = np.asarray(
        [[1.0, -1.0, np.nan, np.nan], [3.0, -3.0, -5.0, np.nan], [2, -2, -7, np.inf]]
    )
    line = curves.loss_traces(np.arange(4), {"a": trace}).axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), [2, -2, -6])
    np.testing.assert_allclose(line.get_xdata(), [0, 1, 2])


@pytest.mark.parametrize("people", [1, 3, 5])
def test_loss_traces_gives_each_person_a_panel_even_without_numbers(people):
    traces = {f"s{i}": np.full((4, 3), np.nan) for i in range(people)}
    figure = curves.loss_traces(np.arange(3), traces)
    assert [a.get_title(loc="left") for a in figure.axes[:people]] == list(traces)
    assert primitives.png(figure)


@pytest.mark.parametrize(
    "make",
    [
        lambda: portraits.best_clones([]),
        lambda: portraits.seed_figure(np.zeros((0, 4, 4, 1))),
        lambda: curves.training_curves({}),
        lambda: curves.loss_traces([0], {}),
        lambda: curves.loss_traces([0, 1], {"a": np.ones((4, 3))}),
        lambda: portraits.clone_grid(
            plain(RED), np.zeros((0, 4, 4, 3)), np.zeros(0), np.zeros(0), "a"
        ),
    ],
)
def test_nothing_to_draw_is_an_error(make):
    with pytest.raises(ValueError, match="must"):
        make()
