"""The tree of namespaces: links, rows that are used again, and usage that equals a recount."""

from __future__ import annotations

from itertools import permutations
from random import Random

import numpy as np
import pytest

from carbonquota.kernel import UNKNOWN
from carbonquota.model import MAXIMUM, Size
from carbonquota.trie import ROOT_ROW, Namespaces

SMALL = Size(logical=10, physical=20, data_points=3)
LARGE = Size(logical=1000, physical=4096, data_points=50)
CAPACITY_ORDER = ("namespaces", "metrics", "logical_size", "physical_size", "data_points")


def tree_of(*names: str) -> Namespaces:
    """A tree with these namespaces and those above them."""
    tree = Namespaces()
    for name in names:
        put(tree, name)
    return tree


def put(tree: Namespaces, name: str) -> int:
    """The row of a namespace, created with those above it where missing."""
    row, missing = tree.locate(f"{name}.metric")
    for one in missing:
        row = tree.create(one, row)
    return row


def child_names(tree: Namespaces, name: str = "/") -> set[str]:
    """The names of the direct sub-namespaces."""
    return {tree.name(row) for row in tree.children(tree.find(name))}


def usage(tree: Namespaces, name: str) -> dict[str, int]:
    """What a namespace holds."""
    return {stock: getattr(tree, f"{stock}_at")[tree.find(name)] for stock in CAPACITY_ORDER}


def test_a_new_tree_is_the_root() -> None:
    tree = Namespaces()
    assert tree.find("/") == ROOT_ROW
    assert list(tree.children(ROOT_ROW)) == []
    assert tree.lineage(ROOT_ROW) == [ROOT_ROW]
    assert tree.is_empty(ROOT_ROW)
    assert usage(tree, "/") == dict.fromkeys(CAPACITY_ORDER, 0)


@pytest.mark.parametrize(
    ("path", "found", "missing"),
    [
        ("m", "/", []),
        ("a.m", "a", []),
        ("a.b.m", "a.b", []),
        ("a.b.c.m", "a.b", ["a.b.c"]),
        ("a.x.y.z.m", "a", ["a.x", "a.x.y", "a.x.y.z"]),
        ("ab.m", "/", ["ab"]),
        ("b.a.m", "/", ["b", "b.a"]),
    ],
)
def test_a_metric_is_located_at_the_nearest_namespace_and_what_is_missing(
    path: str, found: str, missing: list[str]
) -> None:
    tree = tree_of("a.b", "c")
    assert tree.locate(path) == (tree.find(found), missing)


def test_children_and_lineage_follow_the_links() -> None:
    tree = tree_of("a.b", "a.c", "a.d.e", "f")
    assert child_names(tree) == {"a", "f"}
    assert child_names(tree, "a") == {"a.b", "a.c", "a.d"}
    assert child_names(tree, "a.b") == set()
    assert [tree.name(row) for row in tree.lineage(tree.find("a.d.e"))] == ["/", "a", "a.d", "a.d.e"]
    assert tree.find("a.e") == UNKNOWN


@pytest.mark.parametrize("order", list(permutations("abcd")), ids="".join)
def test_removal_in_any_order_unlinks_that_one_alone(order: tuple[str, ...]) -> None:
    tree, remaining = tree_of("a", "b", "c", "d"), set("abcd")
    for gone in order:
        tree.remove(tree.find(gone))
        remaining.discard(gone)
        assert tree.find(gone) == UNKNOWN
        assert child_names(tree) == remaining
    put(tree, "e")
    assert child_names(tree) == {"e"}


def test_a_row_is_used_again_clean_and_born_anew() -> None:
    tree = tree_of("a", "b")
    row, births = tree.find("b"), tree.births
    (generation,) = tree.generations(np.array([row]))
    tree.charge(row, LARGE)
    tree.discharge(row, LARGE)
    tree.state_at[row] = tree.quota_at[row] = 7
    tree.remove(row)
    assert put(tree, "c") == row
    assert (tree.state_at[row], tree.quota_at[row], tree.is_empty(row), list(tree.children(row))) == (0, 0, True, [])
    assert tree.generations(np.array([row])) == tree.births == births + 1 > generation


def test_a_metric_is_counted_at_its_namespace_and_all_above() -> None:
    tree = tree_of("a.b", "c")
    tree.charge(tree.find("a.b"), SMALL)
    tree.charge(tree.find("a.b"), LARGE)
    tree.charge(ROOT_ROW, SMALL)
    both = {"metrics": 2, "logical_size": 1010, "physical_size": 4116, "data_points": 53}
    assert usage(tree, "a.b") == {"namespaces": 0, **both}
    assert usage(tree, "a") == {"namespaces": 1, **both}
    assert usage(tree, "/") == dict(zip(CAPACITY_ORDER, (1, 3, 1020, 4136, 56), strict=True))
    assert usage(tree, "c") == dict.fromkeys(CAPACITY_ORDER, 0)


def test_a_namespace_that_holds_nothing_is_not_counted_above() -> None:
    tree = tree_of("a.b.c")
    row = tree.find("a.b.c")
    for _ in range(2):
        tree.charge(row, SMALL)
    assert [usage(tree, name)["namespaces"] for name in ("/", "a", "a.b")] == [1, 1, 1]
    tree.discharge(row, SMALL)
    assert [usage(tree, name)["namespaces"] for name in ("/", "a", "a.b")] == [1, 1, 1]
    tree.discharge(row, SMALL)
    assert [usage(tree, name)["namespaces"] for name in ("/", "a", "a.b")] == [0, 0, 0]
    assert tree.is_empty(ROOT_ROW)


@pytest.mark.parametrize(
    ("held", "metric", "gaining"),
    [
        (["a.b.m"], "a.b.n", None),
        (["a.b.m"], "a.n", None),
        (["a.b.m"], "n", None),
        (["a.b.m"], "a.c.n", "a"),
        (["a.b.m"], "a.b.c.n", "a.b"),
        (["a.b.m"], "a.c.d.e.n", "a"),
        (["a.b.m"], "d.n", "/"),
        (["a.m"], "a.empty.n", "a"),
        (["a.m"], "a.empty.deeper.n", "a"),
        ([], "empty.n", "/"),
        ([], "empty.deeper.n", "/"),
        ([], "n", None),
    ],
)
def test_the_highest_namespace_that_would_gain_one(held: list[str], metric: str, gaining: str | None) -> None:
    tree = tree_of("a.empty", "empty")
    for name in held:
        tree.charge(put(tree, name.rpartition(".")[0]), SMALL)
    row, missing = tree.locate(metric)
    assert tree.gaining(row, missing=bool(missing)) == (UNKNOWN if gaining is None else tree.find(gaining))


@pytest.mark.parametrize("control", ["logical", "physical", "data_points"])
def test_sums_may_reach_the_maximum_and_not_pass_it(control: str) -> None:
    tree = tree_of("a")
    tree.charge(tree.find("a"), Size(**{control: MAXIMUM - 5}))
    assert tree.can_hold(Size(**{control: 5}))
    assert not tree.can_hold(Size(**{control: 6}))
    tree.charge(ROOT_ROW, Size(**{control: 5}))
    assert usage(tree, "/")[{"logical": "logical_size", "physical": "physical_size"}.get(control, control)] == MAXIMUM


def assert_is_a_tree_of(tree: Namespaces, held: dict[str, list[Size]]) -> None:
    """Links, names and usage equal those of namespaces with the sizes of the metrics put right there."""
    for name in held:
        row = tree.find(name)
        assert tree.name(row) == name
        direct = {other for other in held if other.rpartition(".")[0] == ("" if name == "/" else name) and other != "/"}
        assert child_names(tree, name) == direct
        assert [tree.name(above) for above in tree.lineage(row)] == ["/", *lineage_of(name)]
        below = [sizes for other, sizes in held.items() if name == "/" or f"{other}.".startswith(f"{name}.")]
        sizes = [size for sizes in below for size in sizes]
        occupied = [other for other in direct if any(held[one] for one in held if f"{one}.".startswith(f"{other}."))]
        assert usage(tree, name) == {
            "namespaces": len(occupied),
            "metrics": len(sizes),
            "logical_size": sum(size.logical for size in sizes),
            "physical_size": sum(size.physical for size in sizes),
            "data_points": sum(size.data_points for size in sizes),
        }


def lineage_of(name: str) -> list[str]:
    """The namespaces above this one and itself, the root left out."""
    parts = name.split(".") if name != "/" else []
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]


def change(tree: Namespaces, held: dict[str, list[Size]], name: str, random: Random) -> None:
    """Create a namespace, put a metric there or take one out, or remove it where that is allowed."""
    action = random.choice(["create", "charge", "discharge", "discharge", "remove", "remove"])
    if action in {"create", "charge"}:
        row = put(tree, name)
        for above in lineage_of(name):
            held.setdefault(above, [])
        if action == "charge":
            held[name].append(random.choice([SMALL, LARGE, Size()]))
            tree.charge(row, held[name][-1])
    elif action == "discharge" and held.get(name):
        tree.discharge(tree.find(name), held[name].pop())
    elif action == "remove" and name in held and not held[name] and not child_names(tree, name):
        tree.remove(tree.find(name))
        del held[name]


@pytest.mark.parametrize("seed", range(20))
def test_links_and_usage_stay_right_through_random_changes(seed: int) -> None:
    random, tree = Random(seed), Namespaces()
    held: dict[str, list[Size]] = {"/": []}
    deepest = random.choice([1, 2, 4])
    names = [".".join(random.choices("abcdef", k=random.randint(1, deepest))) for _ in range(40)]
    for step in range(600):
        change(tree, held, random.choice(names), random)
        if step % 100 == 99:
            assert_is_a_tree_of(tree, held)


def test_a_tree_grows_and_shrinks_by_thousands_and_uses_its_rows_again() -> None:
    tree = Namespaces()
    for turn in range(3):
        rows = [put(tree, f"a{turn}.b{number}") for number in range(5000)]
        for row in rows:
            tree.charge(row, SMALL)
        assert usage(tree, f"a{turn}") == dict(zip(CAPACITY_ORDER, (5000, 5000, 50_000, 100_000, 15_000), strict=True))
        assert len(child_names(tree, f"a{turn}")) == 5000
        for row in rows:
            tree.discharge(row, SMALL)
            tree.remove(row)
        tree.remove(tree.find(f"a{turn}"))
        assert list(tree.children(ROOT_ROW)) == []
    assert tree.size == 5002


def test_filling_empty_namespaces_counts_each_as_its_parents_once() -> None:
    namespaces = Namespaces()
    a = namespaces.create("a", ROOT_ROW)
    deep = namespaces.create("a.b", a)
    empty = namespaces.create("c", ROOT_ROW)
    for _ in range(2):
        amounts = np.array([(0, 2, 20, 40, 60), (0, 1, 1, 1, 1), (0, 1, 1, 1, 1)], np.int64).T
        namespaces.fill(np.array([deep, deep, ROOT_ROW], np.int64), amounts)
    rows = [ROOT_ROW, a, deep, empty]
    assert namespaces.metrics[rows].tolist() == [8, 6, 6, 0]
    sizes = [used[rows].tolist() for used in namespaces.usage[2:]]
    assert sizes == [[44, 42, 42, 0], [84, 82, 82, 0], [124, 122, 122, 0]]
    assert namespaces.namespaces[rows].tolist() == [1, 1, 0, 0]
    assert namespaces.namespaces.sum() == 2, "what stands past the last row is for rows to come"
    assert namespaces.count() == 2
