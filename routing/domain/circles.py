"""Circles in a graph: fallbacks that lead back to the model where they began. Nodes are row ids."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

Edges = Mapping[int, Collection[int]]


def circle_through(edges: Edges, start: int) -> tuple[int, ...] | None:
    """The shortest way from `start` back to itself, both ends included, or None."""
    came_from: dict[int, int] = {}
    waiting = deque((start,))
    while waiting:
        here = waiting.popleft()
        for following in edges.get(here, ()):
            if following == start:
                way = [start, here]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return tuple(reversed(way))
            if following not in came_from:
                came_from[following] = here
                waiting.append(following)
    return None


def find_circle(edges: Edges) -> tuple[int, ...] | None:
    """Some circle, written like that of `circle_through`, or None. In time linear in the edges."""
    arriving: dict[int, list[int]] = {}
    leaving = {node: len(following) for node, following in edges.items()}
    for node, following in edges.items():
        for target in following:
            arriving.setdefault(target, []).append(node)
            leaving.setdefault(target, 0)
    # What leads nowhere is on no circle, nor is what then leads nowhere else.
    ends = [node for node, count in leaving.items() if not count]
    while ends:
        end = ends.pop()
        del leaving[end]
        for node in arriving.get(end, ()):
            leaving[node] -= 1
            if not leaving[node]:
                ends.append(node)
    for node in leaving:
        # Some of what is left only leads into a circle: walk until a node comes again.
        seen: set[int] = set()
        while node not in seen:
            seen.add(node)
            node = next(following for following in edges[node] if following in leaving)
        return circle_through(edges, node)
    return None
