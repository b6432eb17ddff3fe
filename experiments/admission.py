"""Admits a model from elsewhere as the target: it is read, asked about its people, written down.

Nothing is written before the model has passed: <workdir>/target/recognizer.json comes last.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags, logging

from experiments import (
    aligned,
    asked_target,
    attack,
    class_names,
    console,
    experiment,
    identities,
    imported,
    model_flags,
    options,
    path_flags,
    scenario_flags,
    scenarios,
)
from experiments.aligned import Frame
from experiments.imported import ModelFacts
from mia_jax.evidence import embedders, statistics
from mia_jax.faces import Faces, protocol
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.recognizer import (
    SMALLEST_SIDE,
    RecognizerFacts,
    acquaintance,
    answers,
    preprocessing,
    templates,
)
from mia_jax.recognizer.acquaintance import Acquaintance
from mia_jax.recognizer.answers import FEATURES, PROBABILITIES
from mia_jax.recognizer.importers import Imported, functions
from mia_jax.recognizer.preprocessing import Preprocessing
from mia_jax.runtime import checkpoints, names, records, storage, workload
from mia_jax.runtime.errors import UserError, list_some
from mia_jax.runtime.ledger import Line
from mia_jax.runtime.workdir import WorkDirectory

GALLERY = path_flags.define(
    "gallery_dir",
    None,
    "Photographs of the people whom the model knows, a sub-folder for each; the attack never sees "
    "them, the judges do. Sub-folders of people whom it does not know are for the judges alone.",
)
flags.adopt_module_key_flags(class_names)
_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Admission:
    """Everything in `target/admission.json`.

    Attributes:
      right: Photographs of its people that the model names right: of those that it was neither
        asked about nor enrolled with.
      total: Of how many.
      chance: The rate of a model that answers as often, and knows nobody.
      classes: The class of each person of the gallery who is registered.
      classes_from: Where that is from: "labels", "the model's answers", or "templates".
      warnings: What looks wrong.
    """

    right: int
    total: int
    chance: float
    classes: dict[str, int]
    classes_from: str
    warnings: tuple[str, ...]


class Shown(NamedTuple):
    """What the model says of the photographs of the people who may be registered.

    Attributes:
      scores: From how pictures are prepared, and the positions of some of the photographs that
        count, to `[m, classes]`. Of some, an embedder knows nobody else.
      people: `[n]`, who is on each, an index into `names`.
      names: The people.
      known: The class of each, None where the model is asked.
      classes: The name of each class.
      enrolled: From how pictures are prepared to the templates; None for a classifier.
    """

    scores: Callable[[Preprocessing, np.ndarray], np.ndarray]
    people: np.ndarray
    names: tuple[str, ...]
    known: np.ndarray | None
    classes: tuple[str, ...]
    enrolled: Callable[[Preprocessing], np.ndarray] | None


def admit(workdir: WorkDirectory, check: Callable[[Faces, Protocol], object] | None = None) -> None:
    """Admits the model that the flags name, or checks that it is the one that was admitted.

    Args:
      workdir: The work directory.
      check: What to look at before the model is shown anything: refuses by a `UserError`.

    Raises:
      UserError: If the model cannot be attacked, does not know its people, or is another than
        before; or a flag is missing.
    """
    for flag in (GALLERY, flags.FLAGS["auxiliary_dir"]):
        if not flag.value:
            raise UserError(
                f"--{flag.name} is needed: --gallery_dir has a folder of photographs for each "
                "person whom the model knows, --auxiliary_dir public faces of others"
            )
    found, facts = model_flags.from_flags()
    if found.answer is None:
        asked_target.check_unused()
    if (workdir.recognizer(TARGET) / "recognizer.json").exists():
        _check_same(workdir, facts)
        return
    if workdir.protocol.exists() and not workdir.model.exists():
        raise UserError(
            f"{workdir.root} holds an experiment whose target is trained here: choose another "
            "--workdir"
        )
    wanted = _faces(facts.preprocessing)
    align = facts.preprocessing.align
    loaded = experiment.load_faces(wanted, Frame(align, workdir.points) if align else None)
    division = dataclasses.replace(options.of_division(), evaluators=())
    if check is not None:
        check(loaded, _expected(loaded, division))
    line = None
    if found.answer is not None:
        line = _line(workdir, facts, found.answer, _expected(loaded, division))
        found = functions.asking(line.ask)
    show = _look(found, facts, loaded)
    said_to_return = facts.returns
    returns, odd = _returns(facts, show, len(loaded.images))
    facts = dataclasses.replace(facts, returns=returns)
    shown = _of_embedder if facts.returns == FEATURES else _of_classifier
    seen = shown(loaded, show, facts, division)
    ways = {"": facts.preprocessing, **preprocessing.alternatives(facts.preprocessing)}
    if embedders.dlib_installed():
        ways |= preprocessing.aligned(facts.preprocessing)
    others = {name: functools.partial(seen.scores, how) for name, how in ways.items()}
    said = others.pop("")
    if line is not None:
        others = dict([*others.items()][: asked_target.affordable(line, len(loaded.images))])
    if seen.known is None and not said_to_return:  # Of what was shown already.
        others[acquaintance.AS_FEATURES] = functools.partial(_similarities, said, seen.people)
    named, unlike = acquaintance.check(said, seen.people, seen.known, others)
    warnings = (*odd, *unlike)
    scores = said(np.arange(len(seen.people)))
    for warning in warnings:
        logging.warning("%s", warning)
    classes, source = _classes(seen, scores)
    _say_strayed(seen, scores, classes)
    by_class = _names(seen.classes, classes)
    photographs = experiment.photographs_by_person(loaded)
    roles = protocol.of_registered(
        photographs, by_class, division.seed, division.held_out, division.validation
    )
    division = dataclasses.replace(division, targeted=len(roles.targeted))
    public = None if loaded.auxiliary is None else len(loaded.auxiliary)
    plan = experiment.Plan(wanted, division, photographs, public, roles)
    enrolled = seen.enrolled(facts.preprocessing) if seen.enrolled else None
    admission = Admission(named.right, named.total, named.chance, classes, source, warnings)
    _write(workdir, plan, facts, admission, named, found, enrolled, loaded)
    logging.info(
        "The model names %d of %d photographs of its %d people right (chance %.1f%%); its classes "
        "are known from %s",
        *(named.right, named.total, len(classes), 100 * named.chance, source),
    )


def _expected(loaded: Faces, division: options.DivisionOptions) -> Protocol:
    """Says who plays which part if the model knows everybody whom it may know."""
    named = loaded.names
    if class_names.LABELS.value:
        named = class_names.read_labels()
    elif model_flags.TEMPLATES.value:
        named = class_names.read_templates()[0]
    photographs = experiment.photographs_by_person(loaded)
    shares = (division.seed, division.held_out, division.validation)
    return protocol.of_registered(photographs, named, *shares)


def _line(
    workdir: WorkDirectory, facts: ModelFacts, answer: Callable[..., Any], roles: Protocol
) -> Line:
    """Says how often a model that may only be asked will be, and opens the way to it."""
    wanted = scenario_flags.from_flags()
    scenarios.check(wanted, scenarios.ANSWERS)
    asked_target.plan(workdir, wanted, roles, identities.chosen(roles), attack.RESTARTS.value)
    return asked_target.line(workdir, facts.model, answer, asked_target.ADMISSION)


def _check_same(workdir: WorkDirectory, facts: ModelFacts) -> None:
    """Refuses flags that name another model than the work directory's."""
    stored = records.read(workdir.model, ModelFacts)
    same = dataclasses.replace(
        facts,
        returns=facts.returns or stored.returns,
        threshold=stored.threshold if facts.threshold is None else facts.threshold,
    )
    for field in dataclasses.fields(ModelFacts):
        now, then = getattr(same, field.name), getattr(stored, field.name)
        if now != then:
            raise UserError(
                f"{workdir.model} was made with {field.name}={then}, and the flags say {now}: "
                "choose another --workdir"
            )
    plan = records.read(workdir.protocol, experiment.Plan)
    if plan.faces.data_dir != GALLERY.value:
        raise UserError(
            f"--gallery_dir={GALLERY.value} contradicts {workdir.protocol}, which was made with "
            f"{plan.faces.data_dir}: choose another --workdir"
        )


def _faces(how: Preprocessing) -> options.FacesOptions:
    """Says how photographs are read: of the size and with the channels that the model wants."""
    gallery, public = str(GALLERY.value), str(flags.FLAGS["auxiliary_dir"].value)
    options.check_apart("gallery_dir", gallery, public)
    for name in ("dataset", "data_dir"):
        if flags.FLAGS[name].present:
            raise UserError(f"--{name} is not for an audit: the people are those in --gallery_dir")
    side: Any = flags.FLAGS["image_size"]
    return options.FacesOptions(
        dataset="folder",
        image_size=side.value if side.present else max(how.photograph_side, SMALLEST_SIDE),
        channels=how.count,
        data_dir=gallery,
        auxiliary_dir=public,
        min_images=options.value_of("min_images") or 3,
        strict_images=options.value_of("strict_images"),
    )


def _look(
    found: Imported, facts: ModelFacts, loaded: Faces
) -> Callable[[Preprocessing, np.ndarray], np.ndarray]:
    """Compiles what shows photographs, by their positions, prepared in any way, each but once."""
    ready = imported.prepared(found, facts)
    model = jax.jit(ready.raw)
    seen: dict[tuple[Preprocessing, int], np.ndarray] = {}

    def photographs(how: Preprocessing, positions: np.ndarray) -> np.ndarray:
        if how.align is None or how.align == facts.preprocessing.align:
            return loaded.images[positions]
        return aligned.photographs(loaded, positions.tolist(), how.align)

    answer = found.answer
    if answer is not None:
        return lambda how, positions: answer(imported.pictures(how, photographs(how, positions)))

    def show(how: Preprocessing, positions: np.ndarray) -> np.ndarray:
        new = [place for place in positions.tolist() if (how, place) not in seen]
        if new:
            with console.progress(len(new), 0, "admission", "photograph") as bar:

                def look(few: np.ndarray) -> jax.Array:
                    pictures = preprocessing.prepare(how, jnp.asarray(photographs(how, few)))
                    outputs = model(ready.params, pictures)
                    bar.update(len(few))
                    return outputs

                outputs = workload.in_batches(look, np.array(new), _BATCH)
            seen.update(zip([(how, place) for place in new], outputs, strict=True))
        return np.stack([seen[how, place] for place in positions.tolist()])

    return show


def _returns(
    facts: ModelFacts, show: Callable[..., np.ndarray], photographs: int
) -> tuple[str, tuple[str, ...]]:
    """Says what the model returns, by what flags say and a look at it, and what looks odd."""
    # As many as are shown at a time later on: another number would be another program.
    outputs = show(facts.preprocessing, np.arange(min(photographs, _BATCH)))
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise UserError(
            f"{facts.model} returns {outputs.shape[1:]} for each picture: a recognizer returns "
            "the scores of at least 2 classes, or features"
        )
    if not np.isfinite(outputs).all():
        raise UserError(
            f"{facts.model} returns values that are not finite for photographs of the gallery: "
            "check its weights, and --range, --mean and --deviation"
        )
    return answers.check(facts.model, outputs, facts.returns)


def _of_classifier(
    loaded: Faces, show: Callable[..., np.ndarray], facts: ModelFacts, division: Any
) -> Shown:
    """Shows a classifier the photographs of its people."""
    del division
    count = show(facts.preprocessing, np.arange(1)).shape[1]
    labels = class_names.read_labels() if class_names.LABELS.value else None
    if labels is not None and len(labels) != count:
        raise UserError(
            f"--labels={class_names.LABELS.value} names {len(labels)} classes "
            f"({list_some(labels)}), and {facts.model} has {count}"
        )
    people_known = tuple(n for n in loaded.names if labels is None or n in labels)
    if not people_known:
        raise UserError(
            f"--labels={class_names.LABELS.value} names nobody of --gallery_dir: its folders are "
            f"{list_some(loaded.names)}, the classes "
            f"{list_some(names.unmatched(labels or (), loaded.names))}"
        )
    if labels is not None:
        _say_unmatched(f"--labels={class_names.LABELS.value}", labels, loaded)
    positions, people = _positions(loaded, people_known)

    def scores(how: Preprocessing, chosen: np.ndarray) -> np.ndarray:
        outputs = show(how, positions[chosen])
        return np.log(np.maximum(outputs, 1e-30)) if facts.returns == PROBABILITIES else outputs

    return Shown(
        scores=scores,
        people=people,
        names=people_known,
        known=None if labels is None else np.array([labels.index(name) for name in people_known]),
        classes=labels or tuple(_unlike(f"class {n}", loaded.names) for n in range(count)),
        enrolled=None,
    )


def _similarities(
    said: Callable[[np.ndarray], np.ndarray], people: np.ndarray, chosen: np.ndarray
) -> np.ndarray:
    """Takes answers for features: compares them with templates of every other photograph."""
    features, own = said(chosen), people[chosen]
    enrolled = acquaintance.alternate(own)
    vectors = templates.enroll(features[enrolled], np.unique(own, return_inverse=True)[1][enrolled])
    return np.asarray(templates.normalized(jnp.asarray(features))) @ vectors.T


def _of_embedder(
    loaded: Faces, show: Callable[..., np.ndarray], facts: ModelFacts, division: Any
) -> Shown:
    """Shows an embedder the photographs of people whose templates it has, or gets."""
    given = class_names.read_templates() if model_flags.TEMPLATES.value else None
    classes = given[0] if given else loaded.names
    known_people = tuple(name for name in loaded.names if name in classes)
    if not known_people:
        raise UserError(
            f"--templates={model_flags.TEMPLATES.value} names nobody of --gallery_dir: its folders "
            f"are {list_some(loaded.names)}"
        )
    if given:
        _say_unmatched(f"--templates={model_flags.TEMPLATES.value}", classes, loaded)
    positions, people = _positions(loaded, known_people)
    asked = np.ones(len(people), bool)
    if given is None:
        roles = protocol.of_registered(
            *(experiment.photographs_by_person(loaded), known_people),
            *(division.seed, division.held_out, division.validation),
        )
        for person, name in enumerate(known_people):
            own = np.flatnonzero(people == person)
            asked[own[list(roles.training[TARGET][name])]] = False

    def enrolled(how: Preprocessing) -> np.ndarray:
        if given:
            return np.asarray(templates.normalized(jnp.asarray(given[1])))
        return templates.enroll(show(how, positions[~asked]), people[~asked])

    def scores(how: Preprocessing, chosen: np.ndarray) -> np.ndarray:
        everything, counted = len(chosen) == asked.sum(), people[asked][chosen]
        if everything:
            show(how, positions)  # Together they fill more batches.
        features = np.asarray(
            templates.normalized(jnp.asarray(show(how, positions[asked][chosen])))
        )
        if everything or given:
            vectors = enrolled(how)
            if features.shape[1] != vectors.shape[1]:
                raise UserError(
                    f"--templates have {vectors.shape[1]} features, and {facts.model} returns "
                    f"{features.shape[1]}"
                )
            return facts.scale * features @ vectors.T
        those = np.unique(counted)
        own = np.flatnonzero(~asked & np.isin(people, those))
        own = own[acquaintance.sample(people[own])]
        few = templates.enroll(show(how, positions[own]), np.searchsorted(those, people[own]))
        found = np.full((len(chosen), len(known_people)), -facts.scale, np.float32)
        found[:, those] = facts.scale * features @ few.T
        return found

    known = np.array([classes.index(name) for name in known_people])
    return Shown(scores, people[asked], known_people, known, tuple(classes), enrolled)


def _say_unmatched(where: str, classes: Sequence[str], loaded: Faces) -> None:
    """Warns of folders that are no class, and of classes without a folder, with the nearest."""
    for what, those, others in (
        ("folders of --gallery_dir are not among the names of", loaded.names, classes),
        ("classes have no folder in --gallery_dir though they are in", classes, loaded.names),
    ):
        if said := names.unmatched(those, others):
            logging.warning("%d %s %s: %s", len(said), what, where, list_some(said))


def _say_strayed(seen: Shown, scores: np.ndarray, classes: dict[str, int]) -> None:
    """Warns of photographs that the model takes for somebody else of the gallery."""
    people = {place: name for name, place in classes.items()}
    answers = [people.get(int(place)) for place in scores.argmax(axis=1)]
    own = [seen.names[person] for person in seen.people]
    taken = collections.Counter(zip(own, answers, strict=True))
    strayed = [
        f"{count} of {own.count(name)} photographs of {name} for {other}"
        for (name, other), count in taken.most_common()
        if other not in (name, None)
    ]
    if strayed:
        logging.warning(
            "The model takes %s: see whether these lie in another's folder", list_some(strayed)
        )


def _unlike(name: str, people: Collection[str]) -> str:
    """Returns a name for a class of nobody that no person has."""
    return _unlike(f"{name}'", people) if name in people else name


def _positions(loaded: Faces, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Lists the photographs of some people, and who is on each."""
    own = [loaded.indices_of(name) for name in names]
    people = np.repeat(np.arange(len(names)), [len(each) for each in own])
    return np.concatenate(own), people


def _classes(seen: Shown, scores: np.ndarray) -> tuple[dict[str, int], str]:
    """Says which class each person is, and where that is from."""
    if seen.known is None:
        found, source = acquaintance.ask(scores, seen.people), "the model's answers"
    else:
        found, source = seen.known, "templates" if seen.enrolled else "labels"
    return {name: int(place) for name, place in zip(seen.names, found, strict=True)}, source


def _names(classes: tuple[str, ...], people: dict[str, int]) -> tuple[str, ...]:
    """Names every class: by its person, or as the labels do."""
    of_class = {place: name for name, place in people.items()}
    return tuple(of_class.get(place, name) for place, name in enumerate(classes))


def _write(
    workdir: WorkDirectory,
    plan: experiment.Plan,
    facts: ModelFacts,
    admission: Admission,
    named: Acquaintance,
    found: Imported,
    enrolled: np.ndarray | None,
    loaded: Faces,
) -> None:
    """Writes everything down, what says that it is whole at last."""
    roles: Protocol = plan.protocol
    records.write(workdir.protocol, plan)
    if enrolled is not None:
        names = np.array(roles.classes[TARGET])
        storage.write_arrays(workdir.templates, {"names": names, "vectors": enrolled})
    records.write(workdir.model, facts)
    records.write(workdir.admission, admission)
    _, weights = imported.recognizer(lambda p, x: x, found.params, facts, enrolled)
    interval = statistics.wilson_interval(named.rate, named.total)
    about = RecognizerFacts(
        role=TARGET,
        classes=len(roles.classes[TARGET]),
        image_shape=tuple(loaded.images.shape[1:]),
        epochs=0,
        training_photographs=0,
        validation_photographs=0,
        test_photographs=named.total,
        validation_accuracy=named.rate,
        test_accuracy=named.rate,
        test_accuracy_interval=interval,
        settings=None,
        digest=checkpoints.digest(weights),
    )
    records.write(workdir.recognizer(TARGET) / "recognizer.json", about)
