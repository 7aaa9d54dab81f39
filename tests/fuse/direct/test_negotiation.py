from __future__ import annotations

import pytest

from readyfs.fuse.direct.negotiation import (
    NEEDED,
    WANTED,
    accept_offer,
    parse_offer,
    passthrough_obstacle,
)
from readyfs.fuse.direct.protocol import IN_HEADER, INIT_IN, INIT_OUT, OUT_HEADER, InitFlag, Opcode
from readyfs.fuse.engine import KernelLacksError

NEW: InitFlag = NEEDED | WANTED | InitFlag.PASSTHROUGH


def init(flags: InitFlag = NEW, *, major: int = 7, opcode: int = Opcode.INIT) -> bytes:
    """What a kernel of protocol 7.40 sends."""
    body = INIT_IN.pack(major, 40, 131072, flags & 0xFFFFFFFF, flags >> 32)
    return IN_HEADER.pack(IN_HEADER.size + len(body), opcode, 6, 0, 0, 0, 0, 0, 0) + body


def test_offer_holds_both_words_of_flags() -> None:
    offer = parse_offer(init())
    assert (offer.minor, offer.flags, offer.max_readahead, offer.unique) == (40, NEW, 131072, 6)


def test_second_word_of_flags_counts_only_where_the_first_says_so() -> None:
    assert InitFlag.PASSTHROUGH not in parse_offer(init(NEW & ~InitFlag.INIT_EXT)).flags


def test_short_init_of_an_old_kernel_is_understood() -> None:
    """Before 7.36 the structure ends behind the first word of flags."""
    assert parse_offer(init(NEEDED)[: IN_HEADER.size + 16]).flags == NEEDED


@pytest.mark.parametrize("flag", [flag for flag in InitFlag if flag in NEEDED])
def test_kernel_that_lacks_what_is_needed_is_refused(flag: InitFlag) -> None:
    with pytest.raises(KernelLacksError, match=f"does not offer {flag.name}"):
        parse_offer(init(NEW & ~flag))


def test_another_protocol_is_refused() -> None:
    with pytest.raises(KernelLacksError, match=r"speaks FUSE 8\.40, not 7"):
        parse_offer(init(major=8))
    with pytest.raises(KernelLacksError):
        parse_offer(init(opcode=Opcode.LOOKUP))


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_answer_asks_for_nothing_that_was_not_offered(depth: int) -> None:
    offered = NEEDED | InitFlag.INIT_EXT | InitFlag.PASSTHROUGH
    answer = accept_offer(parse_offer(init(offered)), depth)
    length, error, unique = OUT_HEADER.unpack_from(answer)
    assert (length, error, unique) == (len(answer), 0, 6)
    major, _, max_readahead, flags, *_, flags2, stack_depth, _ = INIT_OUT.unpack_from(answer, OUT_HEADER.size)
    asked = InitFlag(flags | flags2 << 32)
    assert (major, max_readahead) == (7, 131072)
    assert asked & ~offered == InitFlag(0)
    assert (InitFlag.PASSTHROUGH in asked, stack_depth) == (depth > 0, depth)


def test_passthrough_needs_the_kernel_and_the_privilege() -> None:
    assert passthrough_obstacle(parse_offer(init()), privileged=True) is None
    assert "CAP_SYS_ADMIN" in str(passthrough_obstacle(parse_offer(init()), privileged=False))
    assert "does not offer" in str(passthrough_obstacle(parse_offer(init(NEEDED)), privileged=True))
