"""The funnel: sums of receipts, in = kept + dropped + duplicates + quarantined, for every source and in total."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from corpuskit.engine.store import Receipt
from corpuskit.report.funnel import TOTAL, language_funnel, print_funnel


def receipt(stage: str, shard: str, counts: dict[str, Any], rules: tuple[str, ...] = ()) -> Receipt:
    params = {"rules": [{"name": name, "severities": [1] if name == "garbled" else []} for name in rules]}
    return Receipt(stage, 1, shard, "key", [], {}, params, counts)


def sizes(side: str, documents: int) -> dict[str, int]:
    return {f"chars_{side}": 10 * documents, f"bytes_{side}": 30 * documents}


RULES = ("too_short", "garbled")


def clean(source: str, read: int, short: int, garbled: int, bad: int, *, shard: str = "0") -> Receipt:
    kept = read - short - garbled - bad
    counts = {
        "source": source,
        "in": read,
        "kept": kept,
        "quarantined": bad,
        "dropped": {"too_short": short, "garbled": garbled},
        "chars_dropped": {"too_short": 5 * short, "garbled": 10 * garbled},
        "bytes_dropped": {"too_short": 15 * short, "garbled": 30 * garbled},
        "failing": {"too_short": short, "garbled": garbled + short},
        "only_failing": {"too_short": 0, "garbled": garbled},
        "severities": {"too_short": [short], "garbled": [garbled - garbled // 5, garbled // 5]},
        **sizes("in", read),
        **sizes("kept", kept),
    }
    return receipt("clean", f"{source}-{shard}", counts, RULES)


def dedup(source: str, read: int, exact: int, near: int) -> Receipt:
    kept = read - exact - near
    counts = {
        "source": source,
        "in": read,
        "kept": kept,
        "duplicates": exact + near,
        "by_rule": {"exact_duplicate": exact, "near_duplicate": near},
        **sizes("in", read),
        **sizes("kept", kept),
    }
    return receipt("dedup", source, counts)


def scrub(source: str, read: int, findings: dict[str, int]) -> Receipt:
    counts = {"source": source, "in": read, "kept": read, "findings": findings, **sizes("in", read)}
    return receipt("scrub", source, {**counts, **sizes("kept", read)})


CLEAN = [clean("mc4", 100, 20, 5, 3), clean("mc4", 50, 10, 0, 0, shard="1"), clean("wiki", 40, 4, 0, 1)]
DEDUP = [dedup("mc4", 112, 7, 5), dedup("wiki", 35, 0, 2)]
SCRUB = [scrub("mc4", 100, {"email": 3, "phone_jp": 1}), scrub("wiki", 33, {"email": 2})]


def totals(counts: dict[str, Any]) -> tuple[int, ...]:
    return tuple(counts[k] for k in TOTAL)


def test_a_funnel_is_the_sum_of_its_receipts() -> None:
    funnel = language_funnel(clean=CLEAN, dedup=DEDUP, scrub=SCRUB)
    assert totals(funnel["total"]) == (190, 133, 39, 14, 4)
    assert {name: totals(counts) for name, counts in funnel["sources"].items()} == {
        "mc4": (150, 100, 35, 12, 3),
        "wiki": (40, 33, 4, 2, 1),
    }
    for counts in (funnel["total"], *funnel["sources"].values()):
        assert counts["in"] == sum(counts[k] for k in TOTAL[1:])


def test_every_step_says_what_is_left_after_it() -> None:
    steps = language_funnel(clean=CLEAN, dedup=DEDUP, scrub=SCRUB)["total"]["steps"]
    assert [(s["step"], s["documents"]) for s in steps] == [
        ("read", 190),
        ("clean", 147),
        ("dedup", 133),
        ("scrub", 133),
    ]
    assert [s["characters"] for s in steps] == [10 * s["documents"] for s in steps]
    assert [s["bytes"] for s in steps] == [30 * s["documents"] for s in steps]


def test_rules_stand_in_the_order_in_which_they_are_asked() -> None:
    rules = language_funnel(clean=CLEAN, dedup=DEDUP, scrub=SCRUB)["rules"]
    assert list(rules.items()) == [
        (
            "too_short",
            {
                "dropped": 34,
                "dropped_characters": 170,
                "dropped_bytes": 510,
                "failing": 34,
                "only_failing": 0,
            },
        ),
        (
            "garbled",
            {
                "dropped": 5,
                "dropped_characters": 50,
                "dropped_bytes": 150,
                "failing": 39,
                "only_failing": 5,
                "severities": [4, 1],
            },
        ),
        ("exact_duplicate", {"dropped": 7, "failing": 7, "only_failing": 7}),
        ("near_duplicate", {"dropped": 7, "failing": 7, "only_failing": 7}),
    ]


def test_rules_are_counted_for_every_source_as_well() -> None:
    funnel = language_funnel(clean=CLEAN, dedup=DEDUP, scrub=SCRUB)
    assert funnel["total"]["rules"] == funnel["rules"]
    wiki = funnel["sources"]["wiki"]["rules"]
    assert {name: (n["dropped"], n["failing"]) for name, n in wiki.items()} == {
        "too_short": (4, 4),
        "garbled": (0, 4),
        "exact_duplicate": (0, 0),
        "near_duplicate": (2, 2),
    }


def test_verdicts_that_were_made_apart_from_measuring_give_the_same_funnel_with_one_step_more() -> None:
    measured = [
        replace(r, counts={k: v for k, v in r.counts.items() if k not in ("dropped", "failing")} | {"kept": 0})
        for r in CLEAN
    ]
    decided = [replace(r, counts=r.counts | {"in": 0, "quarantined": 0}) for r in CLEAN]
    whole = language_funnel(clean=CLEAN, dedup=DEDUP, scrub=SCRUB)
    apart = language_funnel(clean=measured, decide=decided, dedup=DEDUP, scrub=SCRUB)
    assert [s["step"] for s in apart["total"]["steps"]] == ["read", "clean", "decide", "dedup", "scrub"]
    for funnel in (whole, apart):
        for counts in (funnel["total"], *funnel["sources"].values()):
            del counts["steps"]
    assert apart == whole


def test_findings_are_summed_by_type() -> None:
    assert language_funnel(clean=CLEAN, dedup=DEDUP, scrub=SCRUB)["masked"] == {"email": 5, "phone_jp": 1}


def test_steps_that_did_not_run_are_left_out() -> None:
    funnel = language_funnel(clean=CLEAN)
    assert totals(funnel["total"]) == (190, 147, 39, 0, 4)
    assert [s["step"] for s in funnel["total"]["steps"]] == ["read", "clean"]
    alone = language_funnel(dedup=DEDUP)
    assert totals(alone["total"]) == (147, 133, 0, 14, 0)


def test_a_source_that_a_step_never_saw_still_adds_up() -> None:
    funnel = language_funnel(clean=[clean("mc4", 10, 10, 0, 0), *CLEAN[2:]], dedup=DEDUP[1:])
    assert totals(funnel["sources"]["mc4"]) == (10, 0, 10, 0, 0)
    assert totals(funnel["total"]) == (50, 33, 14, 2, 1)


def test_nothing_gives_an_empty_funnel() -> None:
    funnel = language_funnel()
    assert totals(funnel["total"]) == (0, 0, 0, 0, 0)
    assert (funnel["sources"], funnel["rules"], funnel["masked"], funnel["total"]["steps"]) == ({}, {}, {}, [])


def test_numbers_that_do_not_add_up_are_an_error_that_names_the_source() -> None:
    with pytest.raises(ValueError, match=r"the funnel of .* does not add up"):
        language_funnel(clean=CLEAN, dedup=[dedup("mc4", 111, 7, 5), DEDUP[1]], scrub=[scrub("mc4", 99, {}), SCRUB[1]])
    # two sources whose errors cancel out in the total
    wrong = [dedup("mc4", 113, 7, 5), dedup("wiki", 34, 0, 2)]
    with pytest.raises(ValueError, match="the funnel of mc4 does not add up"):
        language_funnel(clean=CLEAN, dedup=wrong)


def test_the_table_has_a_row_a_source_and_a_total(capsys: pytest.CaptureFixture[str]) -> None:
    print_funnel({"ja": language_funnel(clean=CLEAN, dedup=DEDUP, scrub=SCRUB), "en": language_funnel()})
    lines = [[cell.strip() for cell in line.split("│")] for line in capsys.readouterr().out.splitlines()]
    rows = [[c for c in cells if c] for cells in lines if len(cells) > 5]
    assert ["ja", "mc4", "150", "100", "35", "12", "3", "66.7", "0.00"] in rows
    assert ["ja", "total", "190", "133", "39", "14", "4", "70.0", "0.00"] in rows
    assert ["en", "total", "0", "0", "0", "0", "0", "0.0", "0.00"] in rows
    assert ["ja", "garbled", "5", "39", "5", "0.00"] in rows
    assert ["ja", "near_duplicate", "7", "7", "7"] in rows


def test_times_are_shown_where_there_are_some(capsys: pytest.CaptureFixture[str]) -> None:
    print_funnel({"en": language_funnel()})
    assert "CPU" not in capsys.readouterr().out
    print_funnel({"en": language_funnel()}, {"clean": 1.25, "decide": 0.04})
    assert "CPU seconds: clean 1.2, decide 0.0" in capsys.readouterr().out
