"""The order of attempts, whatever fails: bounded, in time, and never after an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from api.services.attempts import Candidate, list_candidates
from api.services.course import TOO_LITTLE, Course, RetryPolicy, Try
from api.services.retry_budget import RetryBudget
from api.services.translation.failures import Failure, FailureKind
from routing.domain.table import FallbackReason, ModelRow
from tests.domain.test_attempts import deployment

POLICY = RetryPolicy(retries=2, backoff=0.25, backoff_max=4.0, retry_after_max=10.0)
NOW = 100.0
DEADLINE = NOW + 600.0
K = FailureKind


def model(number: int, keys: Sequence[int] = (1,)) -> ModelRow:
    rows = tuple(deployment(number * 10 + place, count) for place, count in enumerate(keys))
    return ModelRow(id=number, public_id=f"m{number}", deployments=rows)


def candidates_of(row: ModelRow) -> list[Candidate]:
    return list_candidates(row.deployments, 0)


@dataclass
class Around:
    """The Choices of a test: which deployments rest, and which models stand in."""

    stand_in_models: tuple[ModelRow, ...] = ()
    for_reasons: frozenset[FallbackReason] = frozenset(FallbackReason)
    resting: set[int] = field(default_factory=set)

    def admit(self, candidate: Candidate) -> bool:
        return candidate.deployment.id not in self.resting

    is_resting = lambda self, candidate: not self.admit(candidate)  # noqa: E731

    def stand_ins(self, reason: FallbackReason) -> Sequence[ModelRow]:
        return self.stand_in_models if reason in self.for_reasons else ()

    def candidates(self, row: ModelRow) -> Sequence[Candidate]:
        return candidates_of(row)


def course(
    row: ModelRow,
    around: Around | None = None,
    *,
    policy: RetryPolicy = POLICY,
    deadline: float = DEADLINE,
    budget: RetryBudget | None = None,
) -> Course:
    return Course(
        row,
        candidates_of(row),
        around or Around(),
        policy=policy,
        budget=budget or RetryBudget(),
        rng=Random(1),
        deadline=deadline,
    )


def play(way: Course, *outcomes: FailureKind | str, now: float = NOW) -> list[str]:
    """Where each attempt went, `model/deployment`, until there are no more outcomes or attempts."""
    seen: list[str] = []
    for outcome in outcomes:
        step = way.next(now)
        if step is None:
            return [*seen, "end"]
        seen.append(_place(step))
        if outcome == "refused":
            if not way.refuse():
                return [*seen, "answer"]
        elif outcome == "limited":
            way.pass_over()
        else:
            way.fail(Failure(K(outcome), seen[-1]), now)
    return [*seen, "end"] if way.next(now) is None else seen


def _place(step: Try) -> str:
    again = "~" if step.wait else ""
    return f"{again}{step.model.public_id}/{step.candidate.deployment.id % 10}"


def test_every_candidate_goes_first_then_retries_then_the_stand_ins() -> None:
    way = course(model(1, [1, 1]), Around((model(2), model(3))))
    assert play(way, *[K.UPSTREAM_ERROR] * 9) == [
        "m1/0",
        "m1/1",
        "~m1/0",
        "~m1/1",
        "m2/0",
        "m3/0",
        "end",
    ]
    assert way.told.message == "~m1/1"


def test_trouble_of_a_key_goes_to_the_next_key_and_any_other_to_the_next_deployment() -> None:
    keys = course(model(1, [3, 1]))
    assert play(keys, *[K.UPSTREAM_AUTHENTICATION] * 9) == ["m1/0", "m1/0", "m1/0", "m1/1", "end"]
    other = course(model(1, [3, 1]))
    assert play(other, *[K.UPSTREAM_QUOTA, K.UPSTREAM_HEADERS_TIMEOUT, K.UPSTREAM_QUOTA]) == [
        "m1/0",
        "m1/0",
        "m1/1",
        "end",
    ]


def test_what_is_wrong_with_the_request_ends_all() -> None:
    way = course(model(1, [1, 1]), Around((model(2),)))
    assert play(way, K.UPSTREAM_ERROR, K.UPSTREAM_REJECTED) == ["m1/0", "m1/1", "end"]
    assert way.told.kind is K.UPSTREAM_REJECTED


def test_what_is_wrong_with_the_request_is_asked_neither_of_stand_ins_nor_of_what_rests() -> None:
    way = course(model(1, [1, 1]), Around((model(2),), resting={10}))
    assert play(way, K.UPSTREAM_REJECTED) == ["m1/1", "end"]
    assert way.told.kind is K.UPSTREAM_REJECTED


def test_what_one_protocol_cannot_say_another_may() -> None:
    way = course(model(1, [1, 1]), Around((model(2),)))
    assert play(way, K.UNSUPPORTED_VALUE, K.UPSTREAM_QUOTA, K.UPSTREAM_QUOTA) == [
        "m1/0",
        "m1/1",
        "m2/0",
        "end",
    ]
    alone = course(model(1), Around((model(2),)))
    assert play(alone, K.UNSUPPORTED_VALUE) == ["m1/0", "end"]
    assert alone.told.kind is K.UNSUPPORTED_VALUE


def test_a_conversation_that_is_too_long_goes_to_a_stand_in_at_once() -> None:
    long = Around((model(2), model(3)), frozenset({FallbackReason.CONTEXT_OVERFLOW}))
    way = course(model(1, [1, 1]), long)
    assert play(way, *[K.CONTEXT_LENGTH_EXCEEDED] * 3) == ["m1/0", "m2/0", "m3/0", "end"]
    assert way.told.message == "m1/0"
    assert play(course(model(1), long), *[K.UPSTREAM_QUOTA] * 3) == ["m1/0", "end"]


def test_a_stand_in_s_own_objections_are_not_told() -> None:
    way = course(model(1), Around((model(2, [1, 1]), model(3))), policy=RetryPolicy(0, 0, 0, 0))
    assert play(way, K.UPSTREAM_ERROR, K.UPSTREAM_REJECTED, K.CONTEXT_LENGTH_EXCEEDED) == [
        "m1/0",
        "m2/0",
        "m3/0",
        "end",
    ]
    assert way.told.message == "m1/0"


def test_a_refusal_goes_to_stand_ins_and_theirs_stands_only_where_they_stand_in_for_trouble() -> None:
    around = Around((model(2), model(3)))
    assert play(course(model(1, [1, 1]), around), *["refused"] * 4) == ["m1/0", "m2/0", "m3/0", "end"]
    troubled = course(model(1), around)
    assert play(troubled, K.UPSTREAM_QUOTA, "refused", "refused") == ["m1/0", "m2/0", "answer"]
    refused = course(model(1), Around((model(2),), frozenset({FallbackReason.REFUSAL})))
    assert play(refused, K.CONTENT_REFUSED, "refused") == ["m1/0", "m2/0", "end"]
    assert refused.told.kind is K.CONTENT_REFUSED


def test_a_stand_in_whose_limits_are_reached_is_passed_over() -> None:
    way = course(model(1), Around((model(2, [2, 1]), model(3))))
    assert play(way, K.UPSTREAM_QUOTA, "limited", K.UPSTREAM_ERROR) == ["m1/0", "m2/0", "m3/0", "end"]


def test_what_rests_is_tried_last_of_all_but_tried() -> None:
    around = Around((model(2),), resting={10, 20})
    way = course(model(1, [1, 1]), around)
    assert play(way, *[K.UPSTREAM_ERROR] * 9) == [
        "m1/1",
        "~m1/1",
        "~m1/1",
        "m1/0",
        "m2/0",
        "end",
    ]


def test_a_model_of_which_all_rests_gives_way_to_its_stand_in() -> None:
    around = Around((model(2),), resting={10})
    assert play(course(model(1), around), *[K.UPSTREAM_ERROR] * 9) == [
        "m2/0",
        "m1/0",
        "~m1/0",
        "~m1/0",
        "end",
    ]


def test_what_was_found_last_may_still_lead_to_another_stand_in() -> None:
    around = Around((model(2),), frozenset({FallbackReason.CONTEXT_OVERFLOW}), resting={10})
    way = course(model(1), around)
    assert play(way, K.CONTEXT_LENGTH_EXCEEDED, K.UPSTREAM_ERROR) == ["m1/0", "m2/0", "end"]


def test_a_model_without_anything_to_try_has_stand_ins() -> None:
    way = course(model(1, []), Around((model(2),)))
    way.fail(Failure(K.PROVIDER_NOT_CONFIGURED, "nothing"), NOW)
    assert play(way, K.UPSTREAM_ERROR) == ["m2/0", "end"]
    assert way.told.kind is K.UPSTREAM_ERROR


def test_an_upstream_is_waited_for_as_long_as_it_asks() -> None:
    way = course(model(1))
    assert way.next(NOW) is not None
    way.fail(Failure(K.UPSTREAM_RATE_LIMITED, "x", retry_after=7), NOW)
    step = way.next(NOW + 2)
    assert step is not None
    assert 5 <= step.wait <= 5 + POLICY.backoff


def test_an_upstream_that_asks_for_too_much_is_not_waited_for() -> None:
    for asked, deadline in ((10.1, DEADLINE), (7, NOW + 7), (1000, DEADLINE)):
        way = course(model(1), deadline=deadline)
        way.next(NOW)
        way.fail(Failure(K.UPSTREAM_RATE_LIMITED, "x", retry_after=asked), NOW)
        assert way.next(NOW) is None
        assert way.told.retry_after == asked


def test_whoever_is_ready_first_is_asked_again_first() -> None:
    way = course(model(1, [1, 1]))
    for wait in (5.0, 1.0):
        way.next(NOW)
        way.fail(Failure(K.UPSTREAM_RATE_LIMITED, "x", retry_after=wait), NOW)
    steps = [way.next(NOW)]
    way.fail(Failure(K.UPSTREAM_RATE_LIMITED, "x", retry_after=1), NOW + 1)
    steps.append(way.next(NOW + 1))
    assert [step.candidate.deployment.id for step in steps if step] == [11, 10]


def test_without_a_budget_nothing_is_tried_again() -> None:
    spent = RetryBudget()
    while spent.take(NOW):
        pass
    way = course(model(1), Around((model(2),)), budget=spent)
    assert play(way, *[K.UPSTREAM_ERROR] * 9) == ["m1/0", "m2/0", "end"]


def test_time_that_is_up_is_told_whatever_failed_before() -> None:
    way = course(model(1, [1, 1]), deadline=NOW + 5)
    assert play(way, K.UPSTREAM_RATE_LIMITED) == ["m1/0"]
    way.fail(Failure(K.UPSTREAM_TOTAL_TIMEOUT, "late"), NOW + 5)
    assert way.next(NOW + 5) is None
    assert way.told.kind is K.UPSTREAM_TOTAL_TIMEOUT


def test_an_attempt_that_ran_out_of_its_own_time_leaves_the_rest_to_others() -> None:
    way = course(model(1, [1, 1]))
    assert play(way, K.UPSTREAM_TOTAL_TIMEOUT, K.UPSTREAM_HEADERS_TIMEOUT) == ["m1/0", "m1/1", "end"]


# Whatever happens.

sizes = st.lists(st.integers(1, 3), min_size=0, max_size=3)
outcomes = st.one_of(
    st.builds(
        lambda kind, wait, status: Failure(kind, "x", retry_after=wait, upstream_status=status),
        st.sampled_from(list(FailureKind)),
        st.none() | st.floats(0.1, 20),
        st.sampled_from([None, 404, 500]),
    ),
    st.sampled_from(["refused", "limited"]),
)


@settings(max_examples=400)
@given(
    own=sizes,
    others=st.lists(sizes, max_size=3),
    reasons=st.frozensets(st.sampled_from(list(FallbackReason))),
    resting=st.frozensets(st.integers(10, 43)),
    retries=st.integers(0, 5),
    seconds=st.floats(0.0, 40.0),
    results=st.lists(st.tuples(outcomes, st.floats(0, 3)), min_size=1, max_size=60),
    begun=st.booleans(),
)
def test_every_course_ends_in_time_and_in_bounds(
    own: list[int],
    others: list[list[int]],
    reasons: frozenset[FallbackReason],
    resting: frozenset[int],
    retries: int,
    seconds: float,
    results: list[tuple[Failure | str, float]],
    begun: bool,
) -> None:
    asked = model(1, own)
    stand_ins = tuple(model(place + 2, keys) for place, keys in enumerate(others))
    begun = begun and bool(own)
    way = Course(
        asked,
        candidates_of(asked),
        Around(stand_ins, reasons, set(resting)),
        policy=RetryPolicy(retries, 0.5, 2.0, 5.0),
        budget=RetryBudget(),
        rng=Random(3),
        deadline=NOW + seconds,
        begun=begun,
    )
    now = NOW
    tries: list[Try] = [Try(asked, candidates_of(asked)[0])] if begun else []
    if not own:
        way.fail(Failure(K.PROVIDER_NOT_CONFIGURED, "nothing"), now)
    is_over = is_kept = False
    for result, spent in results:
        if not begun:
            step = way.next(now)
            if step is None:
                break
            assert not is_over, "nothing is tried after a mistake of the client"
            now += step.wait
            assert now < NOW + seconds, "nobody waits past the deadline"
            tries.append(step)
        begun = False
        now += spent
        is_own = tries[-1].model is asked
        if result == "limited":
            if is_own:
                way.fail(Failure(K.UPSTREAM_QUOTA, "x"), now)
            else:
                way.pass_over()
        elif result == "refused":
            if not way.refuse():
                return
            is_kept = True
        else:
            assert isinstance(result, Failure)
            way.fail(result, now)
            is_over = is_own and result.kind is K.INVALID_REQUEST and result.upstream_status != 404
    first = [step for step in tries if not step.wait]
    places = [
        (step.model.public_id, step.candidate.deployment.id, step.candidate.credential) for step in first
    ]
    assert len(set(places)) == len(places), "without a wait, nothing is tried twice"
    assert len(tries) - len(first) <= retries
    assert all(step.model is asked for step in tries if step.wait)
    total = sum(len(candidates_of(row)) for row in (asked, *stand_ins))
    assert len(tries) <= total + retries
    assert is_kept or isinstance(way.told, Failure)
    assert way.next(NOW + seconds - TOO_LITTLE / 2) is None
