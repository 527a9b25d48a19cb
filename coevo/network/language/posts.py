"""The human posts of the language network: twenty sentences on Bitcoin, written for this project.

Seven are positive, seven neutral and six negative, the proportions of Wang et al. 2025, section 4.1. They describe no
real event, person or price, and they are no advice.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["HUMAN_POSTS", "QUERY", "HumanPost"]


class HumanPost(NamedTuple):
    """A sentence of A^(0) and its stance: ``"positive"``, ``"neutral"`` or ``"negative"``."""

    text: str
    stance: str


#: The fixed query q of Wang et al. 2025, section 4.1.
QUERY = "Please provide EXACTLY one concise sentence about the future prospects of Bitcoin."

#: The initial pool A^(0), in a mixed order.
HUMAN_POSTS: tuple[HumanPost, ...] = (
    HumanPost("Bitcoin gives people with weak currencies a way to save that no government can print away.", "positive"),
    HumanPost("Nobody knows what a coin will cost next year, and honest people admit it.", "neutral"),
    HumanPost("Most small buyers arrive late, pay the top and leave with a loss.", "negative"),
    HumanPost("Every halving makes new coins rarer while more savers want them.", "positive"),
    HumanPost("Miners move to wherever electricity is cheap that season.", "neutral"),
    HumanPost("A network that burns this much power will sooner or later be taxed out of business.", "negative"),
    HumanPost("Pension funds are starting to hold a little of it, and they rarely leave.", "positive"),
    HumanPost("Rules differ from country to country and change every few months.", "neutral"),
    HumanPost("Fees jump whenever the network is busy, so it will never replace cash in shops.", "negative"),
    HumanPost("The code has run for years without a day off, which is more than most banks can say.", "positive"),
    HumanPost("Some treat it as digital gold and others as a lottery ticket.", "neutral"),
    HumanPost("Lost passwords and stolen keys have ruined more savers than any bank failure here.", "negative"),
    HumanPost("Payments on the second layer already cost less than a cent and settle at once.", "positive"),
    HumanPost("Trading volume fell this spring and nobody agrees on the reason.", "neutral"),
    HumanPost("Its price is held up by borrowed money, and borrowed money gets called back.", "negative"),
    HumanPost("Young engineers keep building on it, and talent is what decides which technology wins.", "positive"),
    HumanPost("The price follows technology shares on most days and goes its own way on the rest.", "neutral"),
    HumanPost("Once central banks issue their own coins, few people will need this one.", "negative"),
    HumanPost("Sending money home to my family went from three days to ten minutes.", "positive"),
    HumanPost("Analysts publish a new forecast every week and seldom look back at the old ones.", "neutral"),
)
