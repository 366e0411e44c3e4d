"""The processes of one attempt agree on a word, whatever earlier attempts have left in the store."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed import HashStore

from mlp_torch.distributed.meeting import Meeting


def all_met(store, size: int, before: tuple[tuple[int, float], ...] = ()) -> list[str]:
    """The words that they find, after some ranks had begun to meet for so many seconds and died."""
    for rank, seconds in before:
        with pytest.raises(RuntimeError):
            Meeting(store, rank, size).held(seconds)
    words = [""] * size

    def meet(rank):
        words[rank] = Meeting(store, rank, size).held(20)

    threads = [threading.Thread(target=meet, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return words


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 5), st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.03])), max_size=4))
def test_all_find_one_word_and_never_that_of_an_earlier_attempt(size, died):
    store, seen = HashStore(), set()
    for _ in range(3):
        words = all_met(store, size, tuple((rank % size, seconds) for rank, seconds in died))
        assert len(set(words)) == 1
        assert "" not in words
        assert words[0] not in seen
        seen.add(words[0])


@pytest.mark.parametrize("late", [0, 1, 2])
def test_who_does_not_come_is_known_even_where_it_came_to_an_earlier_attempt(late):
    store = HashStore()
    all_met(store, 3)
    meetings = [Meeting(store, rank, 3) for rank in range(3) if rank != late]

    def meet(meeting):
        with pytest.raises(RuntimeError, match="timed out after 1 s"):
            meeting.held(1)

    threads = [threading.Thread(target=meet, args=(meeting,)) for meeting in meetings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert late in meetings[0].absent


def test_processes_meet_where_torchrun_has_counted_different_restarts_on_each_machine(ranks, tmp_path):
    flags = "train --data wine --hidden 3 --epochs 1 --log minimal --timeout 20 --runs-dir . --name met"
    counted = "import os\nos.environ['TORCHELASTIC_RESTART_COUNT'] = str(3 * int(os.environ['RANK']))"
    ended = ranks.run(2, flags, tmp_path, set_up=counted)
    assert ended.codes == [0, 0], ended.texts
