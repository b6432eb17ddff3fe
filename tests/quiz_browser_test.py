"""A whole quiz in a real browser: by keyboard, on a phone, two at once, as a file; and axe-core."""

import json

import browser
import pytest
import simulated
from browser import chromium  # noqa: F401 (a fixture)

from mia_jax.study import design, links, static

PLAN, IMAGES = simulated.plan()
STEPS = len(design.steps(PLAN, 1))
pytestmark = browser.needed


@pytest.fixture
def served(tmp_path):
    with simulated.serving(PLAN, IMAGES, tmp_path / "answers.sqlite", observers=4) as found:
        yield found


def address_of(served, number):
    address, words, _ = served
    return f"http://{address}/o/{words.observer(number)}"


def choose_by_keyboard(page, choice, choices):
    """From the first choice, where the focus is, to one by the arrow keys; then on by Enter."""
    page.keyboard.press("Space")
    for _ in range(choices.index(choice)):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.value") == choice
    page.keyboard.press("Enter")


def tab_to(page, kind):
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == kind:
            return
    pytest.fail(f"no {kind} can be reached by the tab key")


def test_a_whole_quiz_by_keyboard_alone(chromium, served):  # noqa: F811
    page = chromium.new_page(viewport=browser.WIDE)
    errors = []
    page.on("console", lambda message: errors.append(message.text))
    page.goto(address_of(served, 1))
    for place, step in enumerate(design.steps(PLAN, 1)):
        if step.item is None:  # There is something to read first: nothing has the focus.
            tab_to(page, "checkbox" if step.name == design.CONSENT else "radio")
        if step.name == design.CONSENT:
            page.keyboard.press("Space")
            tab_to(page, "submit")
            page.keyboard.press("Enter")
        else:
            choose_by_keyboard(page, simulated.right(step), step.choices)
        page.wait_for_function(
            "place => (document.querySelector('[name=step]')?.value ?? place) == place",
            arg=str(place + 1),
        )
    assert page.inner_text("h1") == "Thank you"
    page.close()
    assert served[2].answers()[1] == [simulated.right(step) for step in design.steps(PLAN, 1)]
    assert errors == []


@pytest.mark.parametrize("window", [browser.WIDE, browser.PHONE], ids=["wide", "phone"])
def test_every_kind_of_page_is_accessible_and_fits(chromium, served, window):  # noqa: F811
    context = chromium.new_context(viewport=window, has_touch=window is browser.PHONE)
    page = context.new_page()
    url = address_of(served, 2)
    seen = []
    page.goto(url)
    for step in design.steps(PLAN, 2):
        kind = step.quiz, step.item is None, step.name == design.CONSENT
        if kind not in seen:
            seen.append(kind)
            assert browser.violations(page) == []
            assert browser.overflow(page) <= 0
            for label in page.query_selector_all("form label, button, footer a"):
                box = label.bounding_box()
                assert box["height"] >= 24 and box["width"] >= 24
        if len(seen) == 5 and step.item:
            break
        answer(page, step)
    assert len(seen) == 5
    for other in (f"{url}/delete", url[:-3] + "xyz"):
        page.goto(other)
        assert browser.violations(page) == []
        assert browser.overflow(page) <= 0
    context.close()


def answer(page, step):
    """Chooses by a click or touch on the label, and goes on."""
    page.locator(f"label:has(input[value='{simulated.right(step)}'])").first.click()
    with page.expect_navigation():
        page.get_by_role("button").click()


def test_two_observers_at_once_and_one_comes_back_in_another_browser(chromium, served):  # noqa: F811
    pages = {number: chromium.new_context().new_page() for number in (3, 4)}
    for number, page in pages.items():
        page.goto(address_of(served, number))
    for place in range(5):
        for number, page in pages.items():
            answer(page, design.steps(PLAN, number)[place])
    pages[3].context.close()
    again = chromium.new_context().new_page()
    again.goto(address_of(served, 3))
    assert again.get_attribute("[name=step]", "value") == "5"
    pages[4].go_back()  # A browser's way back leads to the question that is due.
    pages[4].reload()
    assert pages[4].get_attribute("[name=step]", "value") == "5"
    for number in (3, 4):
        expected = [simulated.right(step) for step in design.steps(PLAN, number)[:5]]
        assert served[2].answers()[number] == expected
    again.context.close()
    pages[4].context.close()


def test_nothing_goes_on_without_an_answer(chromium, served):  # noqa: F811
    page = chromium.new_page()
    page.goto(address_of(served, 1))
    page.get_by_role("button").click()
    assert page.get_attribute("[name=step]", "value") == "0"
    assert served[2].answers() == {}
    page.close()


def test_the_quiz_as_a_file_gives_the_same_answers(chromium, tmp_path):  # noqa: F811
    words = links.Links(b"s" * links.SECRET_BYTES)
    path = tmp_path / "observer-002.html"
    path.write_text(static.render(PLAN, 2, IMAGES, words))
    context = chromium.new_context(viewport=browser.PHONE, accept_downloads=True)
    page = context.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(path.as_uri())
    steps = design.steps(PLAN, 2)
    for place, step in enumerate(steps):
        if place in (0, 1, 2, STEPS - 1):
            assert browser.violations(page) == []
            assert browser.overflow(page) <= 0
        if place == 7:  # The browser is closed and opened again.
            page.close()
            page = context.new_page()
            page.goto(path.as_uri())
        section = page.locator("section:not([hidden])")
        assert section.get_attribute("data-step") == str(place)
        assert all(section.locator("img").evaluate_all("all => all.map(i => i.naturalWidth > 0)"))
        section.locator(f"label:has(input[value='{simulated.right(step)}'])").first.click()
        if place < STEPS - 1:
            section.get_by_role("button").click()
    with page.expect_download() as download:
        page.locator("section:not([hidden])").get_by_role("button").click()
    assert browser.violations(page) == []
    returned = tmp_path / "returned.json"
    download.value.save_as(returned)
    found = static.returned(PLAN, words, [1, 2, 3], [returned])
    assert found == {2: [simulated.right(step) for step in steps]}
    assert design.resolve(PLAN, found).recognition[0].observer == 2
    assert json.loads(returned.read_text())["plan"] == design.digest(PLAN)
    assert said == []
    context.close()
