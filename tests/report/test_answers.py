"""Answers in sentences: numbers counted by hand, and what cannot be said."""

from __future__ import annotations

from ibml.config.study.seeds import AdaptiveSeeds
from ibml.records import DesignRecord, StudyRecord
from ibml.report.study.conclusions import build_conclusions, build_study_summary
from ibml.report.study.figures import build_figures
from ibml.report.tables.results import Results
from ibml.report.tables.table import build_table
from tests.report.test_table import ACCURACY, results, study


def said(record: StudyRecord, arms: dict[str, list[float | None]]) -> dict[str, tuple[str, str]]:
    return {
        a.arm: (a.verdict, a.text)
        for a in build_conclusions(build_table(record, results(record, arms)))
    }


def test_an_answer_has_change_interval_p_and_what_would_have_shown() -> None:
    found = said(study(ACCURACY), ACCURACY)
    # differences 5, 4.5, 5, 5, 5.5: sd 0.3536, half 2.7764 x 0.3536 / sqrt(5) = 0.44
    assert found["good"] == (
        "helps",
        "Helps: test.accuracy rises by 5.00 points (95 % interval +4.56 to +5.44, p < 0.001) and "
        "test.gap falls by"
        " 5.00 points (−5.44 to −4.56, p < 0.001).",
    )
    # differences 0.1, -0.2, 0.4, -0.4, 0.3: sd 0.3362, (2.7764 + 0.9410) x 0.3362 / sqrt(5) = 0.56
    assert found["same"] == (
        "no effect detected",
        "No effect was detected on test.accuracy (MDE 0.56 points) or test.gap (MDE 0.56 points).",
    )


def test_the_line_of_a_study_of_arms_says_who_leads_and_who_helps() -> None:
    record = study(ACCURACY)
    made = build_table(record, results(record, ACCURACY))
    assert build_study_summary(made) == (
        "Best mean of test.accuracy: good, 97.00 %. Against ref, helps: good; no effect detected: "
        "same."
    )


def test_ranks_are_over_the_data_sets_that_all_arms_have() -> None:
    record = study(ACCURACY, ("d", "e", "f"))
    found = {
        key: value
        for key, value in results(record, ACCURACY).items()
        if not key.startswith("f/same/")
    }
    made = build_table(record, found)
    assert build_study_summary(made).startswith(
        "Best average rank of test.accuracy over 2 data sets: good, 1.00."
    )
    drawn = {drawing.name: drawing for drawing in build_figures(made, Results(record, found), {})}
    assert (
        drawn["ranks-test.accuracy"].caption
        == "Average ranks of test.accuracy % over 2 data sets, 1 is best."
    )


def test_several_data_sets_are_counted() -> None:
    record = study(ACCURACY, ("d", "e"))
    found = results(record, ACCURACY)
    for key in [key for key in found if key.startswith("e/good")]:
        found[key].metrics.update(found[key.replace("good", "same")].metrics)
    answer = next(a for a in build_conclusions(build_table(record, found)) if a.arm == "good")
    assert answer.verdict == "helps"
    assert "test.accuracy rises on 1 of 2 data sets, on d by 5.00 points" in answer.text
    both = said(record, ACCURACY)["good"][1]
    assert "test.accuracy rises on all 2 data sets, most on d by 5.00 points" in both


def test_a_removed_component_is_told_as_its_removal() -> None:
    arms = {
        "full": ACCURACY["good"],
        "w/o A": ACCURACY["ref"],
        "w/o B": [v + 0.001 * i for i, v in enumerate((0.95, 0.954, 0.97, 0.977, 0.991))],
    }
    levels = {
        "full": {"A": "on", "B": "on"},
        "w/o A": {"A": "off", "B": "on"},
        "w/o B": {"A": "on", "B": "off"},
    }
    design = DesignRecord(
        type="leave_one_out",
        factors={"A": ("off", "on"), "B": ("off", "on")},
        components=("A", "B"),
        levels=levels,
    )
    record = study(arms).model_copy(update={"design": design})
    found = said(record, arms)
    assert found["w/o A"][0] == "hurts"
    assert found["w/o A"][1].startswith("Removing A hurts: test.accuracy falls by 5.00 points")
    assert found["w/o B"][1].startswith("No effect of removing B was detected on test.accuracy")
    assert build_study_summary(build_table(record, results(record, arms))) == (
        "Removing it hurts: A. Removing it has no detected effect: B."
    )


def test_main_effects_of_a_factorial_are_its_line() -> None:
    arms = {
        "none": [0.900, 0.910, 0.920],
        "+ A": [0.950, 0.961, 0.969],
        "+ B": [0.901, 0.909, 0.921],
        "+ A + B": [0.951, 0.960, 0.970],
    }
    levels = {arm: {name: "on" if name in arm else "off" for name in "AB"} for arm in arms}
    design = DesignRecord(
        type="factorial",
        factors={"A": ("off", "on"), "B": ("off", "on")},
        components=("A", "B"),
        levels=levels,
    )
    record = study(arms).model_copy(update={"design": design})
    line = build_study_summary(build_table(record, results(record, arms)))
    # per seed (4.95 + 5.05) / 2 ... : 5.00, 5.10, 4.90
    assert line.startswith(
        "A helps: test.accuracy rises by 5.00 points (95 % interval +4.75 to +5.25, p < 0.001)"
    )
    assert "No effect of B was detected. No interaction of two factors was detected." in line
    assert "nothing can be said of the factors" in build_study_summary(build_table(record, {}))


def test_gains_of_a_cumulative_study_are_its_line() -> None:
    arms = {
        "none": ACCURACY["ref"],
        "+ A": ACCURACY["good"],
        "+ A + B": [0.951, 0.953, 0.974, 0.976, 0.998],
    }
    levels = {arm: {name: "on" if name in arm else "off" for name in "AB"} for arm in arms}
    design = DesignRecord(
        type="cumulative",
        factors={"A": ("off", "on"), "B": ("off", "on")},
        components=("A", "B"),
        levels=levels,
    )
    record = study(arms).model_copy(update={"design": design})
    line = build_study_summary(build_table(record, results(record, arms)))
    assert line.startswith(
        "+ A helps: test.accuracy rises by 5.00 points (95 % interval +4.56 to +5.44, p < 0.001)"
    )
    assert line.endswith("No effect of + B was detected.")


def test_adaptive_seeds_say_when_an_arm_was_decided() -> None:
    record = study(ACCURACY).model_copy(update={"adaptive": AdaptiveSeeds(min=3, max=5)})
    found = said(record, ACCURACY)
    assert found["good"][1].endswith("Decided by test.accuracy after 3 seeds.")
    assert "at a level of" in found["good"][1]
    assert found["same"][1].endswith("Not decided by test.accuracy within 5 seeds.")


def test_what_cannot_be_said_is_said_in_words() -> None:
    one = {"ref": [0.90], '<b>"&': [0.92]}
    assert said(study(one), one)['<b>"&'] == (
        "no claim",
        "One seed alone allows no claim: test.accuracy +2.00 points and test.gap −2.00 points.",
    )
    constant = {"ref": [0.5, 0.25], "a": [0.75, 0.5]}
    assert said(study(constant), constant)["a"] == (
        "no claim",
        "Every seed gave the same difference, which no test can judge: test.accuracy +25.00 points "
        "and test.gap"
        " −25.00 points.",
    )
    apart = {"ref": [0.9, None, 0.9], "a": [None, 0.9, None], "gone": [None, None, None]}
    found = said(study(apart), apart)
    assert found["gone"] == ("no result", "No run has a result (3 seeds planned).")
    assert found["a"] == (
        "no result",
        "No seed has a result of both sides on test.accuracy or test.gap. 1 of 3 seeds have a "
        "result.",
    )
    record = study(ACCURACY)
    assert (
        build_study_summary(build_table(record, {}))
        == "Against ref, no result: good, same. 15 trials have no result yet."
    )
