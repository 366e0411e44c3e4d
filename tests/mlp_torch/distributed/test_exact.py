"""Where no operation rounds, the summed gradient of N processes is the plain formulas' full-batch one."""

import pytest

RUN = "from tests.mlp_torch.distributed import exact; {fault}\nassert exact.main() == {wrong}"
FORGETS = "from tests.mlp_torch.distributed.test_like_one import FAULTS; exec(FAULTS['forgets its share'])"


@pytest.mark.parametrize("n", [2, 3])
def test_the_gradient_of_n_processes_is_the_full_batch_one_bit_for_bit(n, ranks, tmp_path):
    ended = ranks.run(n, "", tmp_path, set_up=RUN.format(fault="", wrong=0))
    assert ended.codes == [0] * n, ended.texts
    proved, wrong = map(int, ended.texts[0].split())
    assert proved >= 10
    assert wrong == 0


def test_a_share_that_is_forgotten_is_seen_in_every_bit(ranks, tmp_path):
    ended = ranks.run(2, "", tmp_path, set_up=RUN.format(fault=FORGETS, wrong="0"))
    assert ended.codes == [1, 1], ended.texts
