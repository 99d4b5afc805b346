"""Quotas: the ones above a metric, their names in stats, and counts that wait for a report and are lost by none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from carbonquota.control import CONTROLS
from carbonquota.controls.reference import throughput
from carbonquota.controls.table import METRICS
from carbonquota.model import MAXIMUM, Size
from carbonquota.naming import collision_suffix
from carbonquota.trie import NO_QUOTA, ROOT_ROW, Index, Quotas
from carbonquota.trie.quota_names import in_turn

LOGICAL_SIZE, PHYSICAL_SIZE = (control.index for control in CONTROLS if control.stat.endswith("_size"))


@dataclass(frozen=True, slots=True)
class Grants:
    """What a rule grants, for these tests."""

    throughput: int = MAXIMUM
    metered: bool = False
    enforcing: bool = True
    stat_prefix: str = ""


PLAIN = Grants()
METERED = Grants(throughput=10, metered=True)
LENIENT = Grants(throughput=10, metered=True, enforcing=False)


def quotas_of(*grants: Grants) -> tuple[Quotas, list[int]]:
    """Quotas one below the other, the first on the root; and their rows."""
    quotas, rows, above = Quotas(grants, lambda row: "a" * row or "/"), [], NO_QUOTA
    for number in range(len(grants)):
        above = quotas.create(number, number, above)
        rows.append(above)
    return quotas, rows


def take(quotas: Quotas, chain: tuple[int, ...], points: int) -> int:
    """Offer points to the quotas of a chain: the one that rejects them, or NO_QUOTA and they are charged."""
    rejecter = throughput.ask(quotas, chain, points)
    if rejecter == NO_QUOTA:
        throughput.charge(quotas, chain, points)
    return rejecter


def stat_name_of(quotas: Quotas, row: int) -> str:
    """What the namespace of one quota is called in stats."""
    (name,) = quotas.stat_names(np.array([row]))
    return name


def closed(quotas: Quotas, row: int) -> tuple[int, int, int]:
    """What waits for a report: throughput, throttle and what was dropped by any control."""
    _, *dropped = quotas.closed_counts
    return quotas.closed_throughput[row], quotas.closed_throttle[row], sum(column[row] for column in dropped)


def test_there_is_no_quota_at_the_start_and_none_is_no_limit() -> None:
    quotas = Quotas((METERED,), str)
    assert quotas.rows() == []
    assert not quotas.have_counts()
    assert take(quotas, quotas.rate_chain(NO_QUOTA), MAXIMUM) == NO_QUOTA


def test_a_quota_knows_which_of_those_above_it_limit_throughput() -> None:
    quotas, rows = quotas_of(METERED, PLAIN, LENIENT, PLAIN)
    root, _, second, _ = rows
    assert [quotas.rate_chain(row) for row in rows] == [(root,), (root,), (root, second), (root, second)]
    assert [set(quotas.rates[row].tolist()) - {NO_QUOTA} for row in rows] == [
        set(quotas.rate_chain(row)) for row in rows
    ]


def test_hundreds_of_quotas_keep_what_they_are() -> None:
    grants = (METERED, PLAIN)
    quotas = Quotas(grants, lambda row: f"n{row}" if row else "/")
    root = quotas.create(ROOT_ROW, 0, NO_QUOTA)
    rows = [quotas.create(number, number % 2, root) for number in range(1, 500)]
    assert quotas.rows() == [root, *rows]
    for number, row in enumerate(rows, start=1):
        assert (stat_name_of(quotas, row), quotas.name(row), quotas.rule_at[row]) == (
            *[f"n{number}"] * 2,
            number % 2,
        )
        assert quotas.namespace_at[row] == number
        assert quotas.rate_chain(row) == ((root, row) if number % 2 == 0 else (root,))
        assert throughput.ask(quotas, quotas.rate_chain(row), 11) == root


@pytest.mark.parametrize(
    ("namespaces", "names"),
    [
        (["a.b-c", "a-b.c"], ["a-b-c", "a-b-c-4b695ab2"]),
        (["a-b.c", "a.b-c"], ["a-b-c", "a-b-c-a9bb2a1a"]),
        (["/", "root"], ["root", "root-7117806d"]),
    ],
)
def test_of_two_names_that_come_out_the_same_the_later_has_a_suffix(namespaces: list[str], names: list[str]) -> None:
    quotas = Quotas((PLAIN,), namespaces.__getitem__)
    rows = [quotas.create(number, 0, NO_QUOTA) for number in range(len(namespaces))]
    assert quotas.stat_names(np.array(rows)) == names


def test_no_two_quotas_have_one_name_whatever_their_namespaces_are_called() -> None:
    namespaces = ["a.b.c", "a-b.c", "a.b-c", "a-b-c", "a-b-c-4b695ab2", "a.b.c-4b695ab2", "a-b-c.4b695ab2"]
    late = [f"x-y{collision_suffix('x.y')}", "x-y", "x.y"]
    quotas = Quotas((PLAIN,), [*namespaces, *late].__getitem__)
    names = [stat_name_of(quotas, quotas.create(number, 0, NO_QUOTA)) for number in range(len(namespaces + late))]
    assert len(set(names)) == len(names)


def test_a_name_is_free_again_once_its_quota_is_gone() -> None:
    quotas = Quotas((PLAIN,), ["/", "a.b-c", "a-b.c"].__getitem__)
    first = quotas.create(1, 0, NO_QUOTA)
    assert stat_name_of(quotas, first) == "a-b-c"
    quotas.remove(first)
    assert stat_name_of(quotas, quotas.create(2, 0, NO_QUOTA)) == "a-b-c"


def test_names_are_given_in_the_order_of_coming_as_many_as_are_asked_for() -> None:
    names = ["/", "a.b-c", "a-b.c", "d"]
    quotas = Quotas((PLAIN,), names.__getitem__)
    rows = [quotas.create(number, 0, NO_QUOTA) for number in (1, 2, 3)]
    assert quotas.wanting_names == 3
    waiting, turns = in_turn(*quotas.waiting_names())
    quotas.name_some(waiting[:2], turns[:2])
    assert quotas.wanting_names == 1
    quotas.give_names()
    assert quotas.wanting_names == 0
    assert quotas.stat_names(np.array(rows)) == ["a-b-c", "a-b-c-4b695ab2", "d"]


def test_who_is_gone_when_its_turn_comes_gets_no_name_and_neither_does_who_has_its_row() -> None:
    quotas = Quotas((PLAIN,), ["/", "a.b-c", "a-b.c", "a.b.c"].__getitem__)
    first, second = quotas.create(1, 0, NO_QUOTA), quotas.create(2, 0, NO_QUOTA)
    waiting, turns = in_turn(*quotas.waiting_names())
    quotas.remove(first)
    third = quotas.create(3, 0, NO_QUOTA)
    assert third == first
    quotas.name_some(waiting, turns)
    assert quotas.stat_names(np.array([second, third])) == ["a-b-c", "a-b-c-7fe5f9e5"]


def test_names_that_were_taken_are_of_that_moment_whoever_comes_and_goes_after_it() -> None:
    quotas = Quotas((PLAIN,), ["/", "a", "b", "c"].__getitem__)
    rows = np.array([quotas.create(1, 0, NO_QUOTA), quotas.create(2, 0, NO_QUOTA)])
    taken = quotas.take_names()
    quotas.remove(int(rows[0]))
    assert quotas.create(3, 0, NO_QUOTA) == rows[0]
    assert quotas.names(rows).tolist() == ["c", "b"]
    quotas.remove(int(rows[0]))
    assert taken.namespaces(rows).tolist() == ["a", "b"]
    assert quotas.names(rows[1:]).tolist() == ["b"]


def test_who_goes_before_names_are_given_has_none_to_give_back() -> None:
    quotas = Quotas((PLAIN,), ["/", "a.b-c", "a-b.c"].__getitem__)
    first, second = quotas.create(1, 0, NO_QUOTA), quotas.create(2, 0, NO_QUOTA)
    quotas.remove(first)
    assert stat_name_of(quotas, second) == "a-b-c"


def test_prefixes_tell_equal_names_apart() -> None:
    quotas = Quotas((PLAIN, Grants(stat_prefix="level2.")), ["/", "a.b-c", "a-b.c"].__getitem__)
    rows = [quotas.create(1, 0, NO_QUOTA), quotas.create(2, 1, NO_QUOTA)]
    assert quotas.stat_names(np.array(rows)) == ["a-b-c", "level2.a-b-c"]


def test_what_is_counted_waits_for_its_report_and_the_next_interval_starts_anew() -> None:
    quotas, (root, row) = quotas_of(METERED, METERED)
    assert take(quotas, quotas.rate_chain(row), 7) == NO_QUOTA
    assert take(quotas, quotas.rate_chain(row), 4) == root
    assert (quotas.used(root), quotas.used(row)) == (7, 7)
    quotas.close()
    assert (quotas.used(root), quotas.used(row)) == (0, 0)
    assert (closed(quotas, root), closed(quotas, row)) == ((7, 4, 4), (7, 0, 0))
    assert take(quotas, quotas.rate_chain(row), 10) == NO_QUOTA
    quotas.close()
    assert (closed(quotas, root), closed(quotas, row)) == ((17, 4, 4), (17, 0, 0))
    quotas.clear_closed()
    assert (closed(quotas, root), closed(quotas, row)) == ((0, 0, 0), (0, 0, 0))


def test_a_quota_has_counts_until_they_are_reported() -> None:
    quotas, (row,) = quotas_of(LENIENT)
    assert not quotas.has_counts(row)
    throughput.charge(quotas, (row,), 1)
    assert quotas.has_counts(row)
    assert quotas.have_counts()
    quotas.close()
    assert quotas.has_counts(row), "they wait for a report"
    assert not quotas.have_counts(), "none is of the running interval"
    quotas.clear_closed()
    assert not quotas.has_counts(row)
    assert not throughput.over(quotas, row, METRICS, 3)
    assert quotas.has_counts(row), "points over quota count too"


def test_counts_stop_at_the_maximum() -> None:
    quotas, (row,) = quotas_of(Grants(throughput=MAXIMUM, metered=True, enforcing=False))
    for _ in range(4):
        assert take(quotas, (row,), 2**62) == NO_QUOTA
        assert 0 <= quotas.used(row) <= MAXIMUM
    for _ in range(3):
        quotas.close()
        take(quotas, (row,), 2**62)
    assert closed(quotas, row)[0] == MAXIMUM
    assert 0 <= closed(quotas, row)[1] <= MAXIMUM


def test_a_row_is_used_again_without_what_was_counted_there() -> None:
    quotas, (root, row) = quotas_of(METERED, METERED)
    take(quotas, (root, row), 9)
    take(quotas, (root, row), 9)
    quotas.remove(row)
    assert quotas.rows() == [root]
    again = quotas.create(5, 1, root)
    assert again == row
    assert (quotas.used(row), quotas.has_counts(row), closed(quotas, row)) == (0, False, (0, 0, 0))
    assert quotas.rows() == [root, row]


class ByDepth:
    """A matcher with a rule for each depth, in this order; below the last one there is none."""

    def __init__(self, *rules: int) -> None:
        """Take the rule numbers from the root downward, -1 for none."""
        self.rules = rules

    def root(self) -> tuple[int, int]:
        """The root's."""
        return 0, self.rules[0]

    def step(self, state: int, component: str) -> tuple[int, int]:
        """A child's."""
        depth = state + 1
        return depth, self.rules[depth] if depth < len(self.rules) else -1

    def steps(self, state: int, names: Sequence[str]) -> Sequence[tuple[int, int]]:
        """The same for many."""
        return [self.step(state, name.rpartition(".")[2]) for name in names]


def index_of(*grants: Grants) -> Index:
    """An index with a rule at each depth."""
    return Index(ByDepth(*range(len(grants))), grants)


def add(index: Index, name: str, size: Size = Size(data_points=1)) -> int:  # noqa: B008 - a size is frozen
    """Put a series into the index; its row."""
    return index.add(name.encode(), index.create(*index.locate(name)), size)


def quota_names(index: Index) -> set[str]:
    """The namespaces under quota, by their stat names."""
    return set(index.quotas.stat_names(index.quotas.in_use()))


def test_a_namespace_is_under_its_rule_as_soon_as_it_is_there() -> None:
    index = index_of(METERED, PLAIN)
    add(index, "a.b.c.m")
    assert quota_names(index) == {"root", "a"}
    a, deep = index.namespaces.find("a"), index.namespaces.find("a.b.c")
    assert index.own_quota(a) == index.namespaces.quota_at[deep]
    assert index.own_quota(deep) == NO_QUOTA
    assert list(index.foresee(deep, ["a.b.c.d"])) == [-1]
    assert list(index.foresee(ROOT_ROW, ["x", "x.y"])) == [1, -1]


def test_a_series_gone_takes_its_empty_namespaces_along_but_no_other() -> None:
    index = index_of(METERED, PLAIN)
    for name in ("a.b.m", "a.b.c.m", "d.m"):
        add(index, name)
    index.remove(b"a.b.c.m")
    assert [name for name in ("a", "a.b", "a.b.c", "d") if index.namespaces.find(name) >= 0] == ["a", "a.b", "d"]
    index.remove(b"a.b.m")
    assert [name for name in ("a", "a.b", "a.b.c", "d") if index.namespaces.find(name) >= 0] == ["d"]
    assert quota_names(index) == {"root", "d"}
    assert len(index) == 1
    with pytest.raises(KeyError):
        index.remove(b"a.b.m")


def test_an_empty_namespace_with_counts_goes_with_the_report_that_gives_them() -> None:
    index = index_of(PLAIN, METERED)
    add(index, "a.b.m")
    quota = index.own_quota(index.namespaces.find("a"))
    throughput.charge(index.quotas, (quota,), 3)
    index.remove(b"a.b.m")
    assert quota_names(index) == {"root", "a"}
    index.prune_reported()
    assert quota_names(index) == {"root", "a"}, "its counts are of the running interval"
    index.quotas.close()
    index.quotas.clear_closed()
    index.prune_reported()
    assert quota_names(index) == {"root"}
    assert index.namespaces.find("a") < 0


def test_an_idle_namespace_that_is_used_again_stays() -> None:
    index = index_of(PLAIN, METERED)
    add(index, "a.m")
    throughput.charge(index.quotas, (index.own_quota(index.namespaces.find("a")),), 3)
    index.remove(b"a.m")
    add(index, "a.n")
    index.quotas.close()
    index.quotas.clear_closed()
    index.prune_reported()
    assert quota_names(index) == {"root", "a"}
    assert index.namespaces.metrics_at[index.namespaces.find("a")] == 1


def test_series_of_equal_and_of_different_sizes_give_back_what_they_hold() -> None:
    index = index_of(PLAIN)
    sizes = [Size(logical=number % 3, physical=number % 5, data_points=7) for number in range(60)]
    rows = [add(index, f"m{number}", size) for number, size in enumerate(sizes)]
    assert [index.series.size_of(row) for row in rows] == sizes
    index.resize(b"m0", rows[0], Size(logical=500))
    assert index.series.size_of(rows[0]) == Size(logical=500)
    assert index.namespaces.usage_at[LOGICAL_SIZE][ROOT_ROW] == sum(size.logical for size in sizes) + 500
    for number in range(60):
        index.remove(f"m{number}".encode())
    assert (len(index), index.namespaces.is_empty(ROOT_ROW)) == (0, True)
    assert index.namespaces.usage_at[LOGICAL_SIZE][ROOT_ROW] == index.namespaces.usage_at[PHYSICAL_SIZE][ROOT_ROW] == 0


def test_sizes_that_come_and_go_are_never_mixed_up() -> None:
    index, held = index_of(PLAIN), dict[str, Size]()
    for number in range(300):
        name, size = f"m{number}", Size(logical=number // 2, physical=number % 7)
        add(index, name, size)
        held[name] = size
        if number % 3:
            gone = f"m{number * 7 % (number + 1)}"
            if gone in held:
                index.remove(gone.encode())
                del held[gone]
        assert index.namespaces.usage_at[LOGICAL_SIZE][ROOT_ROW] == sum(size.logical for size in held.values())
    assert {name: index.series.size_of(index.find(name.encode())) for name in held} == held
